"""What happens: the job record and its five-state machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ulid import ULID

from models.errors import Conflict
from models.model_card import ModelCard
from worker.webhook_specs import JobWebhook


class JobKind(StrEnum):
    GENERATION = "generation"  # one mask, a few pictures: a job of one shard
    DATASET = "dataset"  # many masks, in shards, filtered, with a report
    EXPORT = "export"  # a data set written in one format
    TRAINING = "training"  # a ControlNet trained with CF-Comp, on a queue and in processes of its own


class JobStatus(StrEnum):
    QUEUED = "queued"  # accepted and stored; no worker has started it yet
    RUNNING = "running"  # a worker has started it; it stays so while a lost worker is replaced
    SUCCEEDED = "succeeded"  # every sample has been tried to its end; `counts` says how many were accepted
    FAILED = "failed"  # ended before that; `error` says why
    CANCELED = "canceled"  # ended because the client asked; finished pictures are kept


class Phase(StrEnum):
    CONDITIONS = "conditions"  # mask read, conditions drawn
    SYNTHESIS = "synthesis"  # the pipeline denoises
    FILTER = "filter"  # R-Filter compares the samples of all shards with each other
    UPLOAD = "upload"  # the last pictures are being stored
    EXPORT = "export"  # samples are written in a format, and read back
    TRAINING = "training"  # optimiser steps


TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED})
_MOVES = {
    JobStatus.QUEUED: {JobStatus.RUNNING, JobStatus.CANCELED, JobStatus.FAILED},
    # running again: the next attempt after a lost worker
    JobStatus.RUNNING: {JobStatus.RUNNING, *TERMINAL},
}


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Progress(Frozen):
    """`done` of `total` samples are settled; `step` of `steps` in the batch now on the GPU.

    A training counts optimiser steps (unit "steps") and reports `metrics` by name: loss_global, loss_local,
    learning_rate, images_per_second; other jobs have none.
    """

    done: int = 0
    total: int
    unit: str = "images"
    step: int = 0
    steps: int = 0
    eta_seconds: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


class Counts(Frozen):
    """requested = accepted + exhausted + failed + pending samples; generated = accepted + rejected pictures.

    `exhausted`: every try of the sample was rejected by R-Filter.
    """

    requested: int
    accepted: int = 0
    exhausted: int = 0
    failed: int = 0
    pending: int
    generated: int = 0
    rejected: int = 0

    def plus(self, made: Made) -> Counts:
        """With what was made since: those samples are no longer pending."""
        settled = made.accepted + made.exhausted + made.failed
        return self.model_copy(
            update={
                "accepted": self.accepted + made.accepted,
                "exhausted": self.exhausted + made.exhausted,
                "failed": self.failed + made.failed,
                "pending": self.pending - settled,
                "generated": self.generated + made.generated,
                "rejected": self.rejected + made.generated - made.accepted,
            }
        )


class Made(Frozen):
    """What a shard has done so far: samples settled, and pictures generated."""

    accepted: int = 0
    exhausted: int = 0
    failed: int = 0
    generated: int = 0


class Attempt(Frozen):
    """One start of the job by one worker. `outcome` is null while it runs."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None


class ModelRef(Frozen):
    """`sha256` is the digest over all weight files; null until a worker has read weights that carry no pin."""

    name: str
    version: str
    sha256: str | None


def model_ref(card: ModelCard) -> ModelRef:
    return ModelRef(name=card.name, version=card.version, sha256=card.digest)


class OwnData(Frozen):
    """What the caller calls the job, and says of it: kept and given back, never read."""

    custom_id: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


NOTHING_OWN = OwnData()


class JobError(Frozen):
    code: str
    detail: str
    retryable: bool = False


class Job(Frozen):
    """The record. `revision` grows by one with every stored change (compare-and-set).

    `webhooks`: who is told of its events, as it was when the job was accepted.
    """

    id: str
    tenant: str
    kind: JobKind
    status: JobStatus = JobStatus.QUEUED
    phase: Phase | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    progress: Progress
    counts: Counts
    attempts: tuple[Attempt, ...] = ()
    request: dict[str, Any]
    model: ModelRef
    warnings: tuple[str, ...] = ()
    custom_id: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    retried_from: str | None = None
    error: JobError | None = None
    webhooks: tuple[JobWebhook, ...] = ()
    revision: int = 0

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    def advance(self, status: JobStatus, **changes: Any) -> Job:
        """The job in its next state; raises Conflict for a move that the state machine does not have."""
        if status not in _MOVES.get(self.status, set()):
            raise Conflict(f"Job {self.id} is {self.status} and cannot become {status}.", code="job_ended")
        if status in TERMINAL:
            at = now()
            kept = self.expires_at and at + (self.expires_at - self.created_at)  # as long again from its end
            changes = {"finished_at": at, "expires_at": kept, "phase": None} | changes
        return self.model_copy(update={"status": status, **changes})


def now() -> datetime:
    """This moment, UTC, to the millisecond, as records store it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def new_job_id(at: datetime | None = None) -> str:
    """`job_` and a lower-case ULID: 26 characters that sort by creation time."""
    ulid = ULID() if at is None else ULID.from_datetime(at)
    return f"job_{str(ulid).lower()}"


def earliest_job_id(at: datetime) -> str:
    """A string that sorts before every job id made at or after that moment."""
    return new_job_id(at)[: len("job_") + 10]


def expiry(created_at: datetime, retention_seconds: int) -> datetime:
    return created_at + timedelta(seconds=retention_seconds)
