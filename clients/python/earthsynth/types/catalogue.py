"""What the service knows and is: categories, label sets, limits, workers, usage."""

from __future__ import annotations

import datetime
from typing import Literal

from earthsynth.types.jobs import ModelRef
from earthsynth.types.records import Record


class Category(Record):
    """`id` is the grey value in a mask. Stuff (not `is_thing`) gets no boxes."""

    id: int
    name: str
    aliases: list[str] = []
    color: str = ""
    is_thing: bool = False


class Ontology(Record):
    """How another label set's ids, names and colours map to category ids."""

    name: str
    title: str = ""
    source: str = ""
    ids: dict[int, int] = {}
    names: dict[str, int] = {}
    colors: dict[str, int] = {}


class Worker(Record):
    """`reason` says why one has failed; `model` is the resident one."""

    name: str
    status: Literal["starting", "ready", "busy", "failed"] | str
    host: str | None = None
    pid: int | None = None
    reason: str | None = None
    device: str | None = None
    model: ModelRef | None = None
    job: str | None = None
    queue: str | None = None
    started_at: datetime.datetime | None = None
    seen_at: datetime.datetime | None = None


class Rate(Record):
    """At most so many requests of a key in any so many seconds. `of`: requests (all), creates (201 and 202)."""

    of: str
    requests: int
    seconds: int


class Limits(Record):
    """None: no limit. Bytes are those of one request's body; `requests_at_once` is what one API process works on."""

    json_bytes: int
    upload_bytes: int
    archive_bytes: int
    archive_entries: int
    body_seconds: float
    body_bytes_per_second: int
    mask_side_pixels: int
    polygons: int
    polygon_points: int
    instances_per_mask: int
    masks_per_set: int
    mask_ids_per_dataset: int
    images_per_generation: int
    tiles_per_generation: int
    samples_per_mask: int
    samples_per_dataset: int
    tries_per_sample: int
    prompt_characters: int
    num_inference_steps: int
    seed: int
    requests_at_once: int
    queued_jobs: int
    queued_jobs_per_tenant: int
    concurrent_jobs_per_tenant: int | None = None
    rates: list[Rate] = []
    wait_seconds: float
    page_items: int
    url_seconds: int
    retention_seconds: int


class MaskCapabilities(Record):
    """How masks may be given, and what becomes of their size."""

    formats: list[str] = []
    encodings: list[str] = []
    ontologies: list[str] = []
    size_policies: list[str] = []


class FilterCapabilities(Record):
    """What R-Filter can be told, and the rules it has."""

    policies: list[str] = []
    rules: list[str] = []


class ModelCapabilities(Record):
    """Of the service's release; `client.models.list()` has trained ones too."""

    shipped: list[str] = []
    default: str


class Features(Record):
    """What can be asked for. `auth_required`: nobody comes in without a key."""

    auth_required: bool = False
    datasets: bool = False
    trainings: bool = False
    inpainting: bool = False
    events: bool = False
    webhooks: bool = False
    usage: bool = False
    ogc_processes: bool = False


class Capabilities(Record):
    """What the service takes and makes. `version` is its release, `api_version` that of the paths."""

    version: str
    api_version: str
    limits: Limits
    masks: MaskCapabilities = MaskCapabilities()
    exports: list[str] = []
    schedulers: list[str] = []
    filter: FilterCapabilities = FilterCapabilities()
    models: ModelCapabilities
    features: Features = Features()


class UsedAmount(Record):
    """`jobs`: how many ended, by kind and status. `worker_seconds` by kind, lost attempts included."""

    jobs: dict[str, dict[str, int]] = {}
    worker_seconds: dict[str, float] = {}
    images_generated: int = 0
    images_accepted: int = 0


class UsedDay(UsedAmount):
    date: datetime.date


class Usage(Record):
    """`items`: the days (UTC) on which a job ended, in order; `total` is their sum."""

    first: datetime.date
    last: datetime.date
    items: list[UsedDay] = []
    total: UsedAmount = UsedAmount()
