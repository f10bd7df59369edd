"""The one place where the environment is read."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    queue: Literal["generation", "training"] = Field(
        "generation", description="what a worker process works on: pictures and data sets, or trainings"
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

    max_upload_bytes: int = Field(33_554_432, description="largest request body")
    max_archive_bytes: int = Field(536_870_912, description="largest zip of masks or of training pairs")
    max_archive_entries: int = Field(10_000, ge=1, description="files in one zip, or in one import")
    max_mask_side: int = Field(4096, description="largest mask width or height, pixels")
    max_queue_depth: int = Field(1000, ge=1, description="queued jobs above which the API answers 429")

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


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
