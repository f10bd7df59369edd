"""A job: one resource for generations, data sets, exports and trainings."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from earthsynth.types.problems import Problem
from earthsynth.types.records import Record

# `| str`: a newer service may know more words
JobKind = Literal["generation", "dataset", "training", "export"] | str
JobStatus = Literal["queued", "running", "succeeded", "failed", "canceled"] | str

ENDED = frozenset({"succeeded", "failed", "canceled"})


class Progress(Record):
    """`done` of `total` (in `unit`s) are settled; `step` of `steps` in the batch at work.

    A training counts optimiser steps and reports `metrics` by name: loss_global, loss_local, learning_rate …; one
    that is not finite is None.
    """

    done: int = 0
    total: int = 0
    unit: str = "images"
    step: int = 0
    steps: int = 0
    eta_seconds: float | None = None
    metrics: dict[str, float | None] = {}


class Counts(Record):
    """requested = accepted + exhausted + failed + pending samples; generated = accepted + rejected pictures.

    `exhausted`: every try of the sample was rejected by R-Filter.
    """

    requested: int = 0
    accepted: int = 0
    exhausted: int = 0
    failed: int = 0
    pending: int = 0
    generated: int = 0
    rejected: int = 0


class QueuePlace(Record):
    """`position` 0 is next."""

    position: int | None = None
    eta_seconds: float | None = None


class Attempt(Record):
    """One start of the job by one worker; `outcome` is null while it runs."""

    number: int
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None


class ModelRef(Record):
    """`sha256`: the digest over all weight files, once it is known."""

    name: str
    version: str
    sha256: str | None = None


class JobData(Record):
    """The job as it was when the service last said so.

    `request` is what was asked, every default filled in, the seed included. `error` says why it failed.
    """

    id: str
    kind: JobKind
    status: JobStatus
    phase: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    progress: Progress = Progress()
    queue: QueuePlace | None = None
    counts: Counts = Counts()
    attempts: list[Attempt] = []
    request: dict[str, Any] = {}
    model: ModelRef | None = None
    warnings: list[str] = []
    custom_id: str | None = None
    metadata: dict[str, str] = {}
    error: Problem | None = None
    retried_from: str | None = None
    links: dict[str, str] = {}

    @property
    def ended(self) -> bool:
        """Whether it has succeeded, failed or been canceled."""
        return self.status in ENDED


class Estimate(Record):
    """What a job would take: at least so many pictures, and so many seconds by the workers' measured speed."""

    images: int | None = None
    seconds: float | None = None


class DryRun(Record):
    """The answer to `validate`: what the job would be, and what it would take. Nothing was kept or started."""

    valid: bool = True
    kind: JobKind | None = None
    request: dict[str, Any] = {}
    model: ModelRef | None = None
    warnings: list[str] = []
    estimate: Estimate = Estimate()
