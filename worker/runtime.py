"""The one place that starts an attempt and ends a job."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from models.errors import EarthSynthError, Unavailable
from worker.jobs import Attempt, Counts, Job, JobError, JobKind, JobStatus, Phase, Progress, now
from worker.layout import attempt_prefix
from worker.lease import Canceled, GivenBack, Lease, LeaseLost, starts_that_count
from worker.logs import get_logger
from worker.pages import write_pages
from worker.redis_client import reachable
from worker.redis_keys import progress_key
from worker.results import adopt, closed, end, read_request, read_result
from worker.run import Resources, Run, patiently
from worker.samples import SampleStatus

log = get_logger(__name__)


def perform(resources: Resources, lease: Lease, task: Callable[[Run], None]) -> None:
    """Runs the task on the leased job, unless the job is over already."""
    job = open_job(resources, lease)
    if job is None:
        return
    with running(resources, lease) as run:
        lease.renew()
        lease.check()
        task(run)


def open_job(resources: Resources, lease: Lease) -> Job | None:
    """The job of the leased entry, or None when it is over or was deleted."""
    job = resources.store.load(lease.job_id)
    if job is None:
        raise LeaseLost(f"no record of {lease.job_id}")
    result = read_result(resources.storage, job.tenant, job.id)
    if result is not None:
        adopt(resources.store, result.job)
        return None
    if read_request(resources.storage, job.tenant, job.id) is None:  # deleted
        log.warning("entry without request dropped", job=job.id)
        return None
    return job


@contextmanager
def running(resources: Resources, lease: Lease) -> Iterator[Run]:
    """Begins an attempt, and ends the job by what happens inside.

    A clean exit: succeeded. Canceled: canceled, finished pictures kept. LeaseLost: this attempt's objects are deleted
    and the job is another worker's. GivenBack: likewise, and the job waits for its next worker. Unavailable (storage
    or store away): the entry goes back to the queue. Any other error: failed with its code.
    """
    job = begin(resources, lease)
    prefix = attempt_prefix(job.tenant, job.id, job.attempts[-1].number, secrets.token_hex(4))
    run = Run(job, lease, resources, prefix, attempt=lease.token, requested=job.counts.requested)
    try:
        yield run
    except LeaseLost:
        log.warning("lease lost, attempt dropped", job=job.id, attempt=run.attempt)
        run.discard()
        raise
    except GivenBack:
        log.info("attempt given back, this process is to end", job=job.id, attempt=run.attempt)
        run.discard()
        raise
    except Canceled:
        finish(run, JobStatus.CANCELED)
    except Unavailable as error:
        log.warning("attempt put back", job=job.id, code=error.code, detail=error.message)
        starts = starts_that_count(resources.store.redis, lease.entry_id, run.attempt)
        if starts < resources.settings.max_attempts:
            run.discard()
            raise
        finish(run, JobStatus.FAILED, error=JobError(code=error.code, detail=error.message, retryable=True))
    except Exception as error:
        finish(run, JobStatus.FAILED, error=job_error(error, job))
    else:
        finish(run, JobStatus.SUCCEEDED)


def job_error(error: Exception, job: Job) -> JobError:
    """What the job says of the error: ours by their code, any other without its text."""
    if isinstance(error, EarthSynthError):
        log.warning("job failed", job=job.id, code=error.code, detail=error.message)
        return JobError(code=error.code, detail=error.message, retryable=error.retryable)
    log.error("job failed unexpectedly", job=job.id, exc_info=error)
    return JobError(code="internal_error", detail="The worker met an unexpected error.", retryable=True)


def begin(resources: Resources, lease: Lease) -> Job:
    """The job with this attempt begun."""
    began = now()
    fresh = Attempt(number=lease.token, worker=resources.name, started_at=began)

    def start(job: Job) -> Job:
        counts = job.counts
        return job.advance(
            JobStatus.RUNNING,
            phase=Phase.CONDITIONS,
            started_at=job.started_at or began,
            attempts=(*closed(job.attempts, "worker_lost"), fresh),
            progress=Progress(total=job.progress.total, unit=job.progress.unit),
            counts=Counts(requested=counts.requested, pending=counts.requested),
        )

    with reachable():
        resources.store.redis.hdel(progress_key(lease.job_id), lease.entry_id)
    job = resources.store.update(lease.job_id, start)
    if job is None:
        raise LeaseLost(f"no record of {lease.job_id}")
    return job


def finish(run: Run, status: JobStatus, *, error: JobError | None = None) -> None:
    """Ends the job with the samples of this attempt."""
    settled = [record for record in run.in_order() if record.status is not SampleStatus.REJECTED]
    pages = write_pages(run.put, settled)
    job, counts = run.job, run.counts
    if job.kind is JobKind.EXPORT and status is JobStatus.SUCCEEDED:
        written = counts.requested
        counts = Counts(requested=written, accepted=written, generated=written, pending=0)
    progress = run.progress.model_copy(update={"eta_seconds": None})
    model = run.training.model if run.training else run.resources.gpu.resident or job.model
    if job.kind is not JobKind.TRAINING:
        progress = progress.model_copy(update={"done": counts.requested - counts.pending})
    end_as(
        run,
        job.model_copy(update={"counts": counts}),
        status,
        error=error,
        model=model,
        progress=progress,
        pages=pages,
        export=run.export,
        training=run.training,
    )


def end_as(run: Run, job: Job, status: JobStatus, **changes: Any) -> Job:
    """Ends the job, unless another attempt was first: then this one's objects are deleted."""
    attempts = closed(job.attempts, status.value)
    storage = run.resources.storage
    changes = {"warnings": (*job.warnings, *run.warnings), "objects": run.objects} | changes
    ended = patiently(lambda: end(run.resources.store, storage, job, status, attempts=attempts, **changes))
    if ended.attempts[-1:] != attempts[-1:]:
        log.warning("another attempt ended the job first", job=job.id, attempt=run.attempt)
        run.discard()
    log.info("job ended", job=job.id, status=ended.status, attempt=run.attempt)
    return ended
