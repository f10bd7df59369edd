"""What the service knows and is: categories, label sets, limits, workers, usage."""

from __future__ import annotations

import datetime
from typing import Any, Literal

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


class Capabilities(Record):
    """Limits, formats, rules, samplers and feature flags of this service."""

    limits: dict[str, Any] = {}
    formats: list[Any] | dict[str, Any] = []
    rules: list[Any] | dict[str, Any] = []
    schedulers: list[Any] | dict[str, Any] = []
    features: dict[str, Any] | list[Any] = {}


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
