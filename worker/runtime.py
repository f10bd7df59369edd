"""The one place that starts an attempt and ends a job."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import stamina

from models.catalog import ModelCard
from models.errors import EarthSynthError, Unavailable
from worker.gpu import Gpu
from worker.jobs import Attempt, Counts, Job, JobError, JobStatus, Phase, Progress, now
from worker.layout import attempt_prefix
from worker.lease import Canceled, Lease, LeaseLost
from worker.logs import get_logger
from worker.results import adopt, closed, end, read_request, read_result
from worker.samples import SampleRecord, to_lines
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store

log = get_logger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a worker process has, wired once. `pulse` tells the supervisor that there is progress."""

    settings: Settings
    name: str
    store: Store
    storage: Storage
    catalog: Mapping[str, ModelCard]
    gpu: Gpu
    pulse: Callable[[], None]


@dataclass(slots=True)
class Run:
    """One attempt at one job: what the task reads, and where it puts what it made."""

    job: Job
    lease: Lease
    resources: Resources
    prefix: str
    batches: int = 1
    warnings: tuple[str, ...] = ()
    samples: dict[int, SampleRecord] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    _phase: Phase | None = None
    _progress: Progress | None = None
    _steps_made: int = 0
    _started: float = 0.0

    @property
    def attempt(self) -> int:
        return self.job.attempts[-1].number

    def enter(self, phase: Phase) -> None:
        """Says what the attempt is doing from now on."""
        self._phase = phase
        self._started = time.monotonic()
        self._report(self.progress)

    def step(self, done: int, step: int, steps: int) -> None:
        """Reports a denoising step; raises Canceled or LeaseLost. `done` pictures are out of the pipeline."""
        self.resources.pulse()
        self._steps_made += step > 0
        eta = None
        if self._steps_made:
            each = (time.monotonic() - self._started) / self._steps_made
            eta = round(max(0.0, each * (self.batches * steps - self._steps_made)), 1)
        total = self.job.progress.total
        if done == self.progress.done:  # a batch that ran out of memory begins again, smaller
            step = max(step, self.progress.step)
        self._report(Progress(done=done, total=total, step=step, steps=steps, eta_seconds=eta))
        self.lease.check()

    def put(self, name: str, body: bytes, content_type: str) -> tuple[str, str]:
        """Stores an object of this attempt; returns its key and sha256."""
        key = self.prefix + name
        sha256 = hashlib.sha256(body).hexdigest()
        _patiently(lambda: self.resources.storage.create(key, body, content_type))
        self.objects[key] = sha256
        return key, sha256

    def add(self, sample: SampleRecord) -> None:
        self.samples[sample.index] = sample

    @property
    def progress(self) -> Progress:
        return self._progress or self.job.progress

    @property
    def counts(self) -> Counts:
        made = len(self.samples)
        requested = self.job.counts.requested
        return Counts(requested=requested, accepted=made, pending=requested - made, generated=made)

    def _report(self, progress: Progress) -> None:
        self._progress = progress
        report = {"progress": progress.model_dump(), "counts": self.counts.model_dump(), "phase": self._phase}
        self.lease.renew(json.dumps(report))


def perform(resources: Resources, lease: Lease, task: Callable[[Run], None]) -> None:
    """Runs the task on the leased job, unless the job is over already."""
    job = resources.store.load(lease.job_id)
    if job is None:
        raise LeaseLost(f"no record of {lease.job_id}")
    result = read_result(resources.storage, job.tenant, job.id)
    if result is not None:
        adopt(resources.store, result.job)
        return
    if read_request(resources.storage, job.tenant, job.id) is None:  # deleted
        log.warning("entry without request dropped", job=job.id)
        return
    with running(resources, lease) as run:
        task(run)


@contextmanager
def running(resources: Resources, lease: Lease) -> Iterator[Run]:
    """Begins an attempt, and ends the job by what happens inside.

    A clean exit: succeeded. Canceled: canceled, finished pictures kept. LeaseLost: this attempt's objects are deleted
    and the job is another worker's. Unavailable (storage or store away): the entry goes back to the queue. Any other
    error: failed with its code.
    """
    job = _begin(resources, lease)
    prefix = attempt_prefix(job.tenant, job.id, job.attempts[-1].number, secrets.token_hex(4))
    run = Run(job=job, lease=lease, resources=resources, prefix=prefix)
    try:
        lease.renew()
        lease.check()
        yield run
    except LeaseLost:
        log.warning("lease lost, attempt dropped", job=job.id, attempt=run.attempt)
        resources.storage.delete(prefix)
        raise
    except Canceled:
        _end(run, JobStatus.CANCELED, "canceled")
    except Unavailable as error:
        log.warning("attempt put back", job=job.id, code=error.code, detail=error.message)
        if run.attempt >= resources.settings.max_attempts:
            _end(
                run,
                JobStatus.FAILED,
                "failed",
                JobError(code=error.code, detail=error.message, retryable=True),
            )
        else:
            resources.storage.delete(prefix)
            raise
    except EarthSynthError as error:
        log.warning("job failed", job=job.id, code=error.code, detail=error.message)
        problem = JobError(code=error.code, detail=error.message, retryable=error.retryable)
        _end(run, JobStatus.FAILED, "failed", problem)
    except Exception:
        log.exception("job failed unexpectedly", job=job.id)
        problem = JobError(
            code="internal_error", detail="The worker met an unexpected error.", retryable=True
        )
        _end(run, JobStatus.FAILED, "failed", problem)
    else:
        _end(run, JobStatus.SUCCEEDED, "succeeded")


def _begin(resources: Resources, lease: Lease) -> Job:
    began = now()
    fresh = Attempt(number=lease.token, worker=resources.name, started_at=began)

    def start(job: Job) -> Job:
        return job.advance(
            JobStatus.RUNNING,
            phase=Phase.CONDITIONS,
            started_at=job.started_at or began,
            attempts=(*closed(job.attempts, "worker_lost"), fresh),
            progress=Progress(total=job.progress.total, unit=job.progress.unit),
            counts=Counts(requested=job.counts.requested, pending=job.counts.requested),
        )

    job = resources.store.update(lease.job_id, start)
    if job is None:
        raise LeaseLost(f"no record of {lease.job_id}")
    return job


def _end(run: Run, status: JobStatus, outcome: str, error: JobError | None = None) -> None:
    samples_key = None
    if run.samples:
        lines = to_lines(run.samples[index] for index in sorted(run.samples))
        samples_key, _ = run.put("samples.jsonl", lines, "application/jsonl")
    job = run.job.model_copy(update={"counts": run.counts})
    made = len(run.samples)
    changes: dict[str, Any] = {
        "attempts": closed(job.attempts, outcome),
        "model": run.resources.gpu.resident or job.model,
        "warnings": (*job.warnings, *run.warnings),
        "progress": run.progress.model_copy(update={"done": made, "eta_seconds": None}),
        "samples_key": samples_key,
        "objects": run.objects,
    }
    ended = _patiently(
        lambda: end(run.resources.store, run.resources.storage, job, status, error=error, **changes)
    )
    if ended.attempts[-1:] != changes["attempts"][-1:]:
        log.warning("another attempt ended the job first", job=job.id, attempt=run.attempt)
        run.resources.storage.delete(run.prefix)
    log.info("job ended", job=job.id, status=ended.status, attempt=run.attempt)


@stamina.retry(on=Unavailable, attempts=20, timeout=60.0, wait_max=5.0)
def _patiently(call: Callable[[], _T]) -> _T:
    """The call's answer, tried again for a minute while storage or store are away."""
    return call()
