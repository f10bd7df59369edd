"""/v1/jobs: one resource for every kind of work."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from app.auth import Reads, Writes
from app.dependencies import JobId, Resources
from app.idempotency import Repeats
from app.openapi import refusals
from app.pages import Cursor, Limit, invalid_cursor, sample_page
from app.schemas import JobPage, JobView, SamplePage, job_view
from worker.layout import JOB_ID
from worker.results import read_result

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("", response_model=JobPage, responses=refusals(422, 503))
def list_jobs(found: Resources, tenant: Reads, limit: Limit = 50, cursor: Cursor = None) -> JobPage:
    """Your jobs, newest first."""
    if cursor is not None and not JOB_ID.fullmatch(cursor):
        raise invalid_cursor()
    jobs = found.intake.store.page(tenant, limit=limit + 1, before=cursor)
    more = jobs[limit - 1].id if len(jobs) > limit else None
    return JobPage(items=[job_view(job, found.intake.store.redis) for job in jobs[:limit]], next_cursor=more)


@router.get(
    "/{job_id}",
    response_model=JobView,
    responses=refusals(404, 422, 503),
)
def get_job(job_id: JobId, found: Resources, tenant: Reads) -> JobView:
    """The job as it is now."""
    return job_view(found.intake.find(tenant, job_id), found.intake.store.redis)


@router.get("/{job_id}/results", response_model=SamplePage, responses=refusals(404, 422, 503))
def get_results(
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

    return await once.answer(None, lambda: run_in_threadpool(cancel))
