"""/v1/jobs: one resource for every kind of work."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from app.dependencies import JobId, Resources, Tenant
from app.openapi import refusals
from app.schemas import JobPage, JobView, SamplePage, job_view, sample_view
from models.errors import InvalidInput
from worker.layout import JOB_ID
from worker.results import read_result, read_samples

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=100)]


@router.get("", response_model=JobPage, responses=refusals(422, 503))
def list_jobs(found: Resources, tenant: Tenant, limit: Limit = 50, cursor: Cursor = None) -> JobPage:
    """Your jobs, newest first."""
    if cursor is not None and not JOB_ID.fullmatch(cursor):
        raise InvalidInput("The cursor is not one that this service gave.", code="invalid_cursor")
    jobs = found.intake.store.page(tenant, limit=limit + 1, before=cursor)
    more = jobs[limit - 1].id if len(jobs) > limit else None
    return JobPage(items=[job_view(job, found.intake.store.redis) for job in jobs[:limit]], next_cursor=more)


@router.get(
    "/{job_id}",
    response_model=JobView,
    responses=refusals(404, 422, 503),
)
def get_job(job_id: JobId, found: Resources, tenant: Tenant) -> JobView:
    """The job as it is now."""
    return job_view(found.intake.find(tenant, job_id), found.intake.store.redis)


@router.get("/{job_id}/results", response_model=SamplePage, responses=refusals(404, 422, 503))
def get_results(
    job_id: JobId, found: Resources, tenant: Tenant, limit: Limit = 50, cursor: Cursor = None
) -> SamplePage:
    """The finished pictures of an ended job, by index, with fresh presigned URLs; empty until it has ended."""
    job = found.intake.find(tenant, job_id)
    if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
        raise InvalidInput("The cursor is not one that this service gave.", code="invalid_cursor")
    result = read_result(found.intake.storage, tenant, job_id) if job.ended else None
    records = read_samples(found.intake.storage, result) if result else []
    rest = [record for record in records if record.index > int(cursor)] if cursor else records
    more = str(rest[limit - 1].index) if len(rest) > limit else None
    items = [sample_view(record, job, found.intake.storage) for record in rest[:limit]]
    return SamplePage(items=items, next_cursor=more)


@router.post(
    "/{job_id}/cancel",
    response_model=JobView,
    responses=refusals(404, 409, 422, 503),
)
def cancel_job(job_id: JobId, found: Resources, tenant: Tenant) -> JobView:
    """Cancels the job: at once while it waits, within one denoising step while it runs. May be repeated."""
    return job_view(found.intake.cancel(tenant, job_id), found.intake.store.redis)
