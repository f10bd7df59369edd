"""The one place where the environment is read."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from limits import parse_many
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _rate_notation(text: str) -> str:
    if text:
        parse_many(text)  # raises ValueError
    return text


RateNotation = Annotated[str, AfterValidator(_rate_notation)]


class Settings(BaseSettings):
    """Settings of every process; each field is the environment variable EARTHSYNTH_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="EARTHSYNTH_", env_file=None, frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="address the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="port the API listens on")
    allowed_hosts: str = Field(
        "",
        description="comma-separated names that a request's Host may hold, `*.name` too, beside loopback names; "
        "empty: any, but loopback names alone while the API listens on loopback without keys",
    )
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$",
        description="what clients call this service, such as https://pictures.example; for the links of /ogc",
    )
    api_processes: int = Field(
        1, ge=1, le=64, description="API processes on that port; each fills a core at some 200 requests/s"
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Redis or Valkey ≥ 6.2, with its password"
    )
    s3_endpoint: str | None = Field(None, description="S3 endpoint URL; empty for AWS")
    s3_public_endpoint: str | None = Field(
        None, description="endpoint written into presigned URLs, where clients reach S3 by another name"
    )
    s3_region: str = Field("us-east-1", description="S3 region")
    s3_bucket: str = Field("earthsynth", description="S3 bucket; created if absent")
    s3_access_key: SecretStr | None = Field(None, description="S3 access key; empty: boto3's own chain")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key")
    presign_seconds: int = Field(3600, ge=60, le=604800, description="life of a presigned URL")

    default_model: str = Field("nano", description="model used when a request names none")
    models: str = Field("nano", description="comma-separated models offered: nano, earthsynth")
    earthsynth_controlnet: str = Field(
        "jaychempan/EarthSynth", description="EarthSynth ControlNet: hub id or local folder"
    )
    earthsynth_base: str = Field(
        "stable-diffusion-v1-5/stable-diffusion-v1-5", description="SD 1.5 base: hub id or local folder"
    )
    model_cache: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        Path("~/.cache/earthsynth/models"),
        validate_default=True,
        description="folder where workers keep the published models they fetched",
    )
    model_cache_bytes: int = Field(
        50_000_000_000,
        ge=0,
        description="size of it above which the versions that were used longest ago go",
    )
    queue: Literal["generation", "training", "webhook"] = Field(
        "generation",
        description="what a worker process works on: pictures and data sets, trainings, or deliveries of webhooks",
    )
    device: Literal["auto", "cuda", "cpu"] = Field("auto", description="where the pipeline runs")
    torch_threads: int = Field(0, ge=0, description="CPU threads of the pipeline; 0: torch's own choice")
    batch_size: int = Field(0, ge=0, le=64, description="pictures per denoising batch; 0: the model's own")

    shard_images: int = Field(
        0,
        ge=0,
        le=1024,
        description="samples of a data set in one queue entry; 0: a few of the model's batches",
    )
    filter_segmenter: str | None = Field(
        None,
        description="R-Filter's segmenter: hub id or local folder; empty: nano's own, none for earthsynth",
    )
    filter_clip: str | None = Field(
        None, description="R-Filter's CLIP (RemoteCLIP, GeoRSCLIP …): hub id or local folder; empty: none"
    )
    filter_calibration: Path | None = Field(
        None, description="thresholds made by `earthsynth calibrate`; empty: nano's own, none for earthsynth"
    )

    max_json_bytes: int = Field(8_388_608, ge=1024, description="largest JSON body")
    max_upload_bytes: int = Field(33_554_432, ge=1024, description="largest form with one picture or mask")
    max_archive_bytes: int = Field(536_870_912, description="largest zip of masks or of training pairs")
    max_archive_entries: int = Field(10_000, ge=1, description="files in one zip, or in one import")
    max_mask_side: int = Field(4096, description="largest mask width or height, pixels")
    max_tiles: int = Field(
        256,
        ge=1,
        description="size_policy=tile: tiles in all pictures of one generation, or in one of a data set",
    )
    max_concurrent_requests: int = Field(
        4, ge=1, description="requests that an API process works on at a time"
    )
    max_waiting_requests: int = Field(
        64,
        ge=0,
        description="requests that wait for their turn in it, and 16 times as many that only read; "
        "more are answered 429 at once",
    )
    body_seconds: float = Field(
        30.0, gt=0, description="a request body that stands still for so long is answered 408"
    )
    min_body_bytes_per_second: int = Field(
        16_384, ge=1, description="a body that comes more slowly, but for the first body_seconds, too"
    )
    rate_limit: RateNotation = Field(
        "", description="requests a key may make, as `600/minute` or `20/second;600/minute`; empty: no limit"
    )
    create_rate_limit: RateNotation = Field(
        "", description="the same, of requests that make something (201, 202); empty: no limit"
    )
    max_queue_depth: int = Field(10_000, ge=1, description="queued jobs above which the API answers 429")
    max_tenant_queue_depth: int = Field(
        1000, ge=1, description="queued jobs of one tenant above which the API answers him 429"
    )
    max_concurrent_jobs: int = Field(
        0, ge=0, description="jobs of one tenant that may be queued or running at once; 0: no limit"
    )

    lease_seconds: float = Field(15.0, gt=0, description="a worker that is silent this long has lost its job")
    heartbeat_seconds: float = Field(3.0, gt=0, description="interval of lease renewal and of the reaper")
    stall_seconds: float = Field(
        120.0, gt=0, description="a step that takes longer is killed by the supervisor"
    )
    load_seconds: float = Field(1800.0, gt=0, description="the longest a model may take to load")
    drain_seconds: float = Field(
        20.0, ge=0, description="what a job in hand at SIGTERM is given; then it goes back to the queue"
    )
    max_attempts: int = Field(3, ge=1, le=10, description="starts of one job before it fails as worker_lost")
    reconcile_seconds: float = Field(30.0, gt=0, description="interval of the S3 to Redis reconciler")
    sweep_seconds: float = Field(
        3600.0,
        ge=1,
        description="interval at which what has expired, and what lost attempts left, is deleted",
    )
    retention_seconds: int = Field(2_592_000, ge=3600, description="life of jobs and their objects")

    webhook_own_hosts: str = Field(
        "",
        description="comma-separated names that no webhook may call, beside those of EARTHSYNTH_ALLOWED_HOSTS",
    )
    webhook_allow_http: bool = Field(False, description="webhooks may call http URLs too")
    webhook_allow_private: bool = Field(
        False, description="webhooks may call loopback and private addresses: development, private networks"
    )
    webhook_ports: str = Field(
        "443",
        pattern=r"^(any|\d{1,5}(,\d{1,5})*)$",
        description="comma-separated ports they may call, or any",
    )
    webhook_proxy: SecretStr | None = Field(
        None,
        description="http(s)://[USER:PASSWORD@]HOST:PORT of a proxy (CONNECT) that all webhooks go through",
    )
    webhook_ca_file: Path | None = Field(
        None, description="PEM file of the CAs that receivers' certificates come from; empty: the public ones"
    )
    webhook_timeout_seconds: float = Field(
        15.0, gt=0, le=60, description="one delivery, name lookup included"
    )
    webhook_retry_seconds: str = Field(
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        pattern=r"^\d+(\.\d+)?(,\d+(\.\d+)?)*$",
        description="waits between the tries of a delivery; after the last one it is given up",
    )
    webhook_lease_seconds: float = Field(
        60.0, ge=1, description="a delivery whose sender is silent this long is tried by another"
    )
    webhook_concurrency: int = Field(256, ge=1, description="deliveries under way in one process")
    webhook_host_concurrency: int = Field(4, ge=1, description="of them to one host, in all processes")
    webhook_tenant_concurrency: int = Field(8, ge=1, description="of them for one tenant, in all processes")

    log_format: Literal["json", "console"] = Field("json", description="log lines as JSON or for people")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="log level")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches the API (a name other than localhost counts as reachable)."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name
            return self.host == "localhost"

    @property
    def model_names(self) -> list[str]:
        """The models offered, in their order."""
        return [name.strip() for name in self.models.split(",") if name.strip()]

    @property
    def webhook_port_numbers(self) -> list[int]:
        """The ports that webhooks may call; none: any."""
        return [] if self.webhook_ports == "any" else [int(port) for port in self.webhook_ports.split(",")]

    @property
    def webhook_retries(self) -> list[float]:
        """The seconds before each try after the first."""
        return [float(text) for text in self.webhook_retry_seconds.split(",")]


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
