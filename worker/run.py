"""One attempt at one step of a job: what its task reads, and where it puts what it made."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import stamina

from models.errors import Unavailable
from worker.events import Event, as_json, progress_of
from worker.jobs import Counts, Job, JobKind, Made, Phase, Progress, now
from worker.lease import Lease
from worker.logs import get_logger
from worker.registry import ModelRegistry
from worker.results import ExportOutcome, TrainingOutcome
from worker.samples import SampleRecord, SampleStatus, to_lines
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store, merged

if TYPE_CHECKING:  # it brings torch, which a process that trains loads with its first training
    from worker.gpu import Gpu

log = get_logger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a worker process has, wired once.

    `pulse` tells the supervisor that there is progress, `loading` that the next may take as long as a model loads.
    `stopping` says whether the process has been asked to end.
    """

    settings: Settings
    name: str
    store: Store
    storage: Storage
    registry: ModelRegistry
    gpu: Gpu
    pulse: Callable[[], None]
    loading: Callable[[], None] = lambda: None
    stopping: Callable[[], bool] = lambda: False


@dataclass(slots=True)
class Run:
    """An attempt under a lease. `requested`: the samples it has to settle."""

    job: Job
    lease: Lease
    resources: Resources
    prefix: str
    attempt: int
    requested: int
    started_at: datetime = field(default_factory=now)
    batches: int = 1
    warnings: tuple[str, ...] = ()
    records: dict[tuple[int, int], SampleRecord] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    export: ExportOutcome | None = None
    training: TrainingOutcome | None = None
    _phase: Phase = Phase.CONDITIONS
    _progress: Progress | None = None
    _steps_made: int = 0
    _entered: float = 0.0
    _told: Phase | None = None

    def enter(self, phase: Phase) -> None:
        """Says what the attempt is doing from now on."""
        self._phase = phase
        self._entered, self._steps_made = time.monotonic(), 0
        self.report(self.progress)

    def step(self, done: int, step: int, steps: int) -> None:
        """Reports a denoising step; raises Canceled or LeaseLost. `done` pictures of this pass are made."""
        self.resources.pulse()
        self._steps_made += step > 0
        eta = None
        if self._steps_made:
            each = (time.monotonic() - self._entered) / self._steps_made
            eta = round(max(0.0, each * (self.batches * steps - self._steps_made)), 1)
        total = self.job.progress.total
        if done == self.progress.done:  # a batch that ran out of memory begins again, smaller
            step = max(step, self.progress.step)
        self.report(Progress(done=done, total=total, step=step, steps=steps, eta_seconds=eta))
        self.lease.check()

    def passed(self, done: int, total: int) -> None:
        """Reports that `done` of `total` samples have been gone through; raises Canceled or LeaseLost."""
        self.resources.pulse()
        each = (time.monotonic() - self._entered) / done if done else None
        eta = None if each is None else round(each * (total - done), 1)
        self.report(Progress(done=done, total=total, eta_seconds=eta))
        self.lease.check()

    def trained(self, progress: Progress) -> None:
        """Reports a training's step; raises Canceled or LeaseLost."""
        self.resources.pulse()
        self.report(progress)
        self.lease.check()

    def put(self, name: str, body: bytes, content_type: str) -> tuple[str, str]:
        """Stores an object of this attempt; returns its key and sha256."""
        key = self.prefix + name
        sha256 = hashlib.sha256(body).hexdigest()
        patiently(lambda: self.resources.storage.create(key, body, content_type))
        self.objects[key] = sha256
        return key, sha256

    def put_records(self) -> str | None:
        """Stores what every try made, in order; returns the key, or None where nothing was made."""
        if not self.records:
            return None
        return self.put("samples.jsonl", to_lines(self.in_order()), "application/jsonl")[0]

    def in_order(self) -> list[SampleRecord]:
        return [self.records[place] for place in sorted(self.records)]

    def add(self, record: SampleRecord) -> None:
        """Keeps what a try made. Of a generation each settled sample is told; a data set has too many of them."""
        self.records[record.place] = record
        if self.job.kind is JobKind.GENERATION and record.status is not SampleStatus.REJECTED:
            told = {"index": record.index, "status": record.status, "seed": record.seed}
            self.lease.tell(Event.SAMPLE, {**told, "attempt": self.attempt, "at": now()})

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Keeps what the job will say of itself in the end. It is told now, except by each shard of a data set."""
        self.warnings = warnings
        if self.job.kind is not JobKind.DATASET:
            for warning in warnings:
                self.log(warning, level="warning")

    def log(
        self, message: str, *, level: Literal["info", "warning", "error"] = "info", **fields: Any
    ) -> None:
        """Says something for people: to this process's log, and to whoever follows the job. Never fails the job."""
        getattr(log, level)(message, **{**fields, "job": self.job.id, "attempt": self.attempt})
        told = {"level": level, "message": message, "fields": fields}
        self.lease.tell(Event.LOG, {**told, "attempt": self.attempt, "at": now()})

    def discard(self) -> None:
        """Deletes every object of this attempt."""
        self.resources.storage.delete(self.prefix)

    @property
    def progress(self) -> Progress:
        return self._progress or self.job.progress

    @property
    def made(self) -> Made:
        statuses = [record.status for record in list(self.records.values())]
        return Made(
            accepted=statuses.count(SampleStatus.ACCEPTED),
            exhausted=statuses.count(SampleStatus.EXHAUSTED),
            generated=len(statuses),
        )

    @property
    def counts(self) -> Counts:
        return Counts(requested=self.requested, pending=self.requested).plus(self.made)

    def report(self, progress: Progress, *, outcome: str = "worker_lost") -> None:
        """Tells Redis, with the renewal of the lease. `outcome`: how it ended, if nothing more is heard of it."""
        self._progress = progress
        report = {
            "progress": progress.model_dump(),
            "made": self.made.model_dump(),
            "phase": self._phase,
            "worker": self.resources.name,
            "started_at": self.started_at.isoformat(),
            "outcome": outcome,
        }
        seen = merged(self.job, [report], {})
        fresh = self._phase is not self._told and self.job.kind is not JobKind.DATASET
        self._told = self._phase
        self.lease.renew(
            json.dumps(report), as_json(progress_of(seen)), at_once=fresh, began=self.job.started_at
        )


@stamina.retry(on=Unavailable, attempts=20, timeout=60.0, wait_max=5.0)
def patiently(call: Callable[[], _T]) -> _T:
    """The call's answer, tried again for a minute while storage or store are away."""
    return call()
