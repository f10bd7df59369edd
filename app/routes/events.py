"""/v1/jobs/{job_id}/events: what happens to a job, while it happens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from app.auth import Reads
from app.dependencies import JobId, Resources
from app.following import EventStream, follow, nothing_follows, snapshot
from app.openapi import refusals, success

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_EVENT_ID = r"^[0-9]{1,19}-[0-9]{1,19}$"


@router.get(
    "/{job_id}/events",
    response_class=Response,  # with EventStream here, FastAPI would take the endpoint for one that yields
    responses=success(200, "the stream", content={"text/event-stream": {"schema": {"type": "string"}}})
    | success(204, "the job has ended, and that event was its last one")
    | refusals(404, 410, 422, 503),
)
async def get_job_events(
    job_id: JobId,
    found: Resources,
    tenant: Reads,
    last_event_id: Annotated[
        str | None, Header(pattern=_EVENT_ID, description="go on after the event with this id")
    ] = None,
    after: Annotated[
        str | None,
        Query(alias="last_event_id", pattern=_EVENT_ID, description="the same; the header goes before it"),
    ] = None,
) -> Response:
    """Server-Sent Events of the job until it has ended; then the stream closes.

    Without Last-Event-ID it begins with `status`, the job as it is now (`job` is what GET of the job answers), then
    come all events that are kept: about the last 5,000, until a day after the last one. With it come exactly those
    after that event, or, where that is not kept any more, `resync` with the job as it is now and all that are kept.

    `status` {status, phase, attempts, counts, error, at} · `progress` {phase, progress, counts, at}, about four a
    second at most · `sample` {index, status, seed, attempt, at}, of generations only · `log` {level, message, fields,
    attempt, at}. While nothing happens a comment comes every 15 s.
    """
    seen = await run_in_threadpool(snapshot, found, tenant, job_id)
    last = last_event_id or after
    if await nothing_follows(found.async_redis, seen, last):
        return Response(status_code=204)  # a browser's EventSource stops asking
    return EventStream(follow(found, tenant, seen, last))
