"""`request.json` and `result.json`: the two documents that make a job durable, and the one way it ends.

`request.json` exists before the client hears 202. `result.json` is created with If-None-Match: whoever is first
decides how the job ended, and everyone else adopts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from models.errors import NotFound
from worker.jobs import Attempt, Counts, Frozen, Job, JobError, JobStatus, ModelRef, now
from worker.layout import job_prefix, request_key, result_key
from worker.pages import Page, read_pages
from worker.samples import SampleRecord
from worker.storage import Storage
from worker.store import Store


class ExportOutcome(Frozen):
    """What an export job made: one archive, and the same files as plain objects under `files_prefix`.

    `report` is the exporter's own: counts, fidelity, and which readers opened it.
    """

    archive_key: str
    archive_sha256: str
    archive_bytes: int
    files_prefix: str
    report: dict[str, Any]


class TrainingOutcome(Frozen):
    """What a training made: a version in the registry.

    `resumed_from` is the step after which the last attempt began. The losses are those of the last step, and null
    where that attempt made none; `agreement` and `iou` (by category name) are the last validation's, in [0, 1].
    """

    model: ModelRef
    steps: int
    resumed_from: int
    loss_global: float | None
    loss_local: float | None
    agreement: float | None
    iou: dict[str, float]


class Result(Frozen):
    """The end of a job. `objects` maps every object of the winning attempt to its sha256.

    `pages` hold its samples: one for each of them, by index. What the shards of a data set made is named in their own
    documents.
    """

    job: Job
    pages: tuple[Page, ...] = ()
    objects: dict[str, str] = Field(default_factory=dict)
    export: ExportOutcome | None = None
    training: TrainingOutcome | None = None


def store_request(storage: Storage, job: Job) -> Job:
    """Makes the job durable: from here on it will end, whatever is lost. The first one stored under its id wins."""
    created = storage.create(
        request_key(job.tenant, job.id), job.model_dump_json().encode(), "application/json"
    )
    return job if created else read_request(storage, job.tenant, job.id) or job


def read_request(storage: Storage, tenant: str, job_id: str) -> Job | None:
    try:
        return Job.model_validate_json(storage.read(request_key(tenant, job_id)))
    except NotFound:
        return None


def read_result(storage: Storage, tenant: str, job_id: str) -> Result | None:
    try:
        return Result.model_validate_json(storage.read(result_key(tenant, job_id)))
    except NotFound:
        return None


def read_samples(storage: Storage, result: Result, *, after: int = -1) -> Iterator[SampleRecord]:
    """The samples of an ended job with an index above `after`, in order, page by page."""
    return read_pages(storage, result.pages, after=after)


def end(
    store: Store,
    storage: Storage,
    job: Job,
    status: JobStatus,
    *,
    error: JobError | None = None,
    pages: tuple[Page, ...] = (),
    objects: Mapping[str, str] | None = None,
    export: ExportOutcome | None = None,
    training: TrainingOutcome | None = None,
    **changes: Any,
) -> Job:
    """Ends the job, unless another process has done so first; returns the job as it really ended."""
    ended = job.advance(status, error=error, counts=_settled(job.counts), **changes)
    result = Result(job=ended, pages=pages, objects=dict(objects or {}), export=export, training=training)
    created = storage.create(
        result_key(job.tenant, job.id), result.model_dump_json().encode(), "application/json"
    )
    if not created:
        first = read_result(storage, job.tenant, job.id)
        if first is not None:
            ended = first.job
    elif not storage.exists(request_key(job.tenant, job.id)):  # deleted meanwhile
        storage.delete(job_prefix(job.tenant, job.id))
    return adopt(store, ended)


def adopt(store: Store, ended: Job) -> Job:
    """Makes the Redis record say what `result.json` says."""
    store.create(ended)
    kept = store.update(ended.id, lambda known: known if known.ended else ended)
    return kept or ended


def give_up(store: Store, storage: Storage, job_id: str, attempts: int) -> None:
    """Ends a job whose every attempt lost its worker."""
    job = store.load(job_id)
    if job is None or job.ended:
        return
    error = JobError(
        code="worker_lost",
        detail=f"The worker died in each of {attempts} attempts. The request may be more than it can bear.",
        retryable=True,
    )
    end(store, storage, job, JobStatus.FAILED, error=error, attempts=closed(job.attempts, "worker_lost"))


def closed(attempts: tuple[Attempt, ...], outcome: str) -> tuple[Attempt, ...]:
    """The attempts with an open last one ended now."""
    if not attempts or attempts[-1].outcome is not None:
        return attempts
    last = attempts[-1].model_copy(update={"outcome": outcome, "ended_at": now()})
    return (*attempts[:-1], last)


def _settled(counts: Counts) -> Counts:
    """With the job over nothing is pending: what was not accepted has failed."""
    return counts.model_copy(update={"pending": 0, "failed": counts.failed + counts.pending})
