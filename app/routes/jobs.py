"""/v1/jobs: one resource for every kind of work."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.concurrency import run_in_threadpool

from app.auth import Reads, Writes
from app.dependencies import JobId, Resources
from app.idempotency import Repeats
from app.openapi import refusals
from app.pages import Cursor, Limit, cursor_after, place_of, sample_page
from app.schemas import JobPage, JobView, SamplePage, job_view
from worker.deletion import delete_job as delete_it
from worker.job_lists import list_jobs as list_jobs_of
from worker.jobs import JobKind, JobStatus
from worker.results import read_result
from worker.retrying import retry_job as retry_it

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("", response_model=JobPage, responses=refusals(422, 503))
def list_jobs(
    found: Resources,
    tenant: Reads,
    kind: JobKind | None = None,
    status: JobStatus | None = None,
    custom_id: Annotated[str | None, Query(max_length=128)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobPage:
    """Your jobs, newest first; all of them, or those of a kind, with a status, or with your own `custom_id`.

    Where a filter finds little among very many jobs a page may be short: go on while there is a `next_cursor`.
    """
    scope = (tenant, "jobs", kind, status, custom_id)
    store = found.intake.store
    jobs, last = list_jobs_of(
        store,
        tenant,
        limit=limit,
        before=place_of(cursor, *scope),
        kind=kind,
        status=status,
        custom_id=custom_id,
    )
    return JobPage(
        items=[job_view(job, store.redis) for job in jobs],
        next_cursor=None if last is None else cursor_after(last, *scope),
    )


@router.get(
    "/{job_id}",
    response_model=JobView,
    responses=refusals(404, 410, 422, 503),
)
def get_job(job_id: JobId, found: Resources, tenant: Reads) -> JobView:
    """The job as it is now."""
    return job_view(found.intake.find(tenant, job_id), found.intake.store.redis)


@router.get("/{job_id}/results", response_model=SamplePage, responses=refusals(404, 410, 422, 503))
def get_job_results(
    job_id: JobId, found: Resources, tenant: Reads, limit: Limit = 50, cursor: Cursor = None
) -> SamplePage:
    """The samples of an ended job, exhausted ones too, by index; empty until it has ended."""
    job = found.intake.find(tenant, job_id)
    result = read_result(found.intake.storage, tenant, job_id) if job.ended else None
    return sample_page(found.intake.storage, job, result.pages if result else (), limit, cursor)


@router.post(
    "/{job_id}/cancel",
    response_model=JobView,
    responses=refusals(400, 404, 409, 410, 422, 503),
)
async def cancel_job(job_id: JobId, found: Resources, tenant: Writes, once: Repeats) -> JobView | Response:
    """Cancels the job: at once while it waits, within one denoising step while it runs. May be repeated."""

    def cancel() -> JobView:
        return job_view(found.intake.cancel(tenant, job_id), found.intake.store.redis)

    return await once.answer(None, cancel)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    response_model=JobView,
    responses=refusals(400, 404, 409, 410, 422, 429, 503),
)
async def retry_job(
    job_id: JobId, response: Response, found: Resources, tenant: Writes, once: Repeats
) -> JobView:
    """Makes another job for the samples of an ended one that failed or were exhausted.

    They keep their indices and masks, and their tries are counted on. A training goes on from its last checkpoint as
    the next version of its name; an export is made again.
    """
    job = await once.job(None, lambda new_id: retry_it(found.intake, found.registry, tenant, job_id, new_id))
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    return await run_in_threadpool(job_view, job, found.intake.store.redis)


@router.delete("/{job_id}", status_code=204, responses=refusals(404, 410, 422, 503))
def delete_job(job_id: JobId, found: Resources, tenant: Writes) -> None:
    """Deletes the job and all that it made, with the exports of a data set; it is canceled first where it runs.

    A model that a training published stays. Afterwards the id answers 410.
    """
    delete_it(found.intake, tenant, job_id)
