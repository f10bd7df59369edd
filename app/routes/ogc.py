"""/ogc: the same generations by OGC API - Processes - Part 1: Core 1.0, for GIS clients."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.auth import Reads, Writes
from app.bodies import parse_json
from app.dependencies import AppResources, Resources, id_in_path
from app.generating import accept_generation
from app.idempotency import Repeats
from app.ogc.execution import ExecuteRequest, check_formats, generation_request, pointing_into_inputs
from app.ogc.formats import only_json
from app.ogc.links import CONFORMANCE, PROCESS_ID, ROOT, Conformance, LandingPage, landing_page, url
from app.ogc.process import Process, ProcessList, check_process, description, process_list
from app.ogc.results import KINDS, RESULT_ANSWERS, keep_wanted, results
from app.ogc.status import StatusInfo, find_job, status_info
from app.openapi import json_body, refusals
from app.waiting import MAX_WAIT_SECONDS, preference, wait_for_end
from worker.jobs import Job
from worker.specs import GenerationRequest

router = APIRouter(prefix=ROOT, tags=["ogc"], dependencies=[Depends(only_json)])

ProcessId = Annotated[str, id_in_path("earthsynth", re.compile(PROCESS_ID))]


@router.get("", response_model=LandingPage, include_in_schema=False)
@router.get("/", response_model=LandingPage, responses=refusals(503))
def get_ogc_landing_page(request: Request, _: Reads) -> LandingPage:
    """Where everything else is."""
    return landing_page(request)


@router.get("/conformance", response_model=Conformance, responses=refusals(503))
def get_ogc_conformance(_: Reads) -> Conformance:
    """Which conformance classes of the standard are met."""
    return CONFORMANCE


@router.get("/processes", response_model=ProcessList, responses=refusals(422, 503))
def list_ogc_processes(
    request: Request,
    _: Reads,
    limit: Annotated[int, Query(ge=1, le=10_000, description="at most so many; there is one")] = 10,  # noqa: ARG001
) -> ProcessList:
    """The processes: there is one, `earthsynth`."""
    return process_list(request)


@router.get("/processes/{process_id}", response_model=Process, responses=refusals(404, 422, 503))
def get_ogc_process(request: Request, process_id: ProcessId, _: Reads) -> Process:
    """The process with its inputs and outputs; inputs are the fields of POST /v1/generations."""
    check_process(process_id)
    return description(request)


@router.post(
    "/processes/{process_id}/execution",
    status_code=201,
    response_model=StatusInfo,
    response_model_exclude_none=True,
    responses=RESULT_ANSWERS | refusals(400, 404, 409, 410, 413, 415, 422, 429, 500, 503),
    openapi_extra=json_body(ExecuteRequest),
)
async def execute_ogc_process(
    request: Request,
    response: Response,
    process_id: ProcessId,
    found: Resources,
    tenant: Writes,
    once: Repeats,
    prefer: Annotated[str | None, Header()] = None,
) -> StatusInfo | Response:
    """Executes the process, and waits for its results.

    With `Prefer: respond-async` it answers 201 with the job at once; so it does when the results take longer than a
    minute, or than `Prefer: wait=N` says. Without `response` the standard wants the outputs themselves, `raw`: one as
    it is, several as multipart/related; `"response": "document"` is one JSON document.
    """
    asked = await parse_json(request, ExecuteRequest)
    check_process(process_id)
    wanted = generation_request(asked, request.url.netloc)
    check_formats(asked, KINDS)
    job = await once.job(asked, lambda job_id: _accept(found, tenant, asked, wanted, job_id))
    seconds, applied = preference(prefer, MAX_WAIT_SECONDS)
    where, ended = url(request, f"/jobs/{job.id}"), False
    if seconds:
        ended = await wait_for_end(found.async_redis, job.id, seconds)
    job = await run_in_threadpool(find_job, found, tenant, job.id)
    answered: StatusInfo | Response = status_info(request, job)
    if ended:
        replayed = dict(response.headers)
        response = answered = await run_in_threadpool(results, request, found, job)
        response.headers.update(replayed)
        response.headers.append("Link", f'<{where}>; rel="monitor"')
    else:
        response.headers["Location"] = where
    if applied:
        response.headers["Preference-Applied"] = applied
    return answered


def _accept(
    found: AppResources, tenant: str, asked: ExecuteRequest, wanted: GenerationRequest, job_id: str
) -> Job:
    """The job; how its results are wanted is kept before it, so that nobody finds the job without."""
    keep_wanted(found.intake.storage, tenant, job_id, asked)
    with pointing_into_inputs():
        return accept_generation(found, tenant, wanted, {}, job_id)
