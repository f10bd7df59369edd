"""/ogc/jobs: the tenant's generations as the jobs of OGC API - Processes - Part 1: Core 1.0."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.auth import Reads, Writes
from app.dependencies import JobId, Resources
from app.ogc.formats import only_json
from app.ogc.links import PROCESS_ID, ROOT
from app.ogc.results import RESULT_ANSWERS, results
from app.ogc.status import (
    JobFilter,
    JobList,
    StatusCode,
    StatusInfo,
    find_job,
    interval,
    job_list,
    status_info,
)
from app.openapi import refusals
from app.pages import Cursor
from models.errors import Conflict
from worker.deletion import delete_job

router = APIRouter(prefix=f"{ROOT}/jobs", tags=["ogc"], dependencies=[Depends(only_json)])

_WHEN = "when it was created: a time, or an interval a/b, ../b, a/.."
Seconds = Annotated[int | None, Query(ge=0, le=1_000_000_000, description="of its run, in seconds")]


@router.get("", response_model=JobList, response_model_exclude_none=True, responses=refusals(422, 503))
def list_ogc_jobs(
    request: Request,
    found: Resources,
    tenant: Reads,
    kinds: Annotated[
        list[str], Query(alias="type", default_factory=list, max_length=10, description="process")
    ],
    process_ids: Annotated[
        list[str], Query(alias="processID", default_factory=list, max_length=10, description="earthsynth")
    ],
    statuses: Annotated[
        list[StatusCode],
        Query(alias="status", default_factory=list, max_length=10, description="any of these"),
    ],
    created: Annotated[str | None, Query(alias="datetime", max_length=100, description=_WHEN)] = None,
    least: Annotated[Seconds, Query(alias="minDuration")] = None,
    most: Annotated[Seconds, Query(alias="maxDuration")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10,
    cursor: Cursor = None,
) -> JobList:
    """Your generations, whichever way they came in, newest first."""
    none = (kinds and "process" not in kinds) or (process_ids and PROCESS_ID not in process_ids)
    wanted = JobFilter(
        statuses=frozenset() if none else frozenset(statuses or StatusCode),
        created=interval(created),
        min_seconds=least,
        max_seconds=most,
    )
    return job_list(request, found, tenant, wanted, limit, cursor)


@router.get(
    "/{job_id}",
    response_model=StatusInfo,
    response_model_exclude_none=True,
    responses=refusals(404, 410, 422, 503),
)
def get_ogc_job(request: Request, job_id: JobId, found: Resources, tenant: Reads) -> StatusInfo:
    """How the job stands."""
    return status_info(request, find_job(found, tenant, job_id))


@router.get(
    "/{job_id}/results",
    response_class=Response,
    responses=RESULT_ANSWERS | refusals(404, 410, 422, 500, 503),
)
def get_ogc_results(request: Request, job_id: JobId, found: Resources, tenant: Reads) -> Response:
    """The results, as they were asked for when the process was executed; of another generation all of them, raw."""
    return results(request, found, find_job(found, tenant, job_id))


@router.delete(
    "/{job_id}",
    response_model=StatusInfo,
    response_model_exclude_none=True,
    responses=refusals(404, 410, 422, 503),
)
def dismiss_ogc_job(request: Request, job_id: JobId, found: Resources, tenant: Writes) -> StatusInfo:
    """Dismisses the job: it is canceled, at once while it waits, within one denoising step while it runs.

    One that has ended by itself is deleted with all that it made; afterwards it is gone (410).
    """
    job = find_job(found, tenant, job_id)
    try:
        return status_info(request, found.intake.cancel(tenant, job_id), dismissed=True)
    except Conflict:  # it has ended by itself
        delete_job(found.intake, tenant, job_id)
        return status_info(request, job, deleted=True)
