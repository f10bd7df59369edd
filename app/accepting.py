"""The answers of a request for a job: accepted, ended in time, or only looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Query, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from app.dependencies import AppResources
from app.schemas import JobView, job_view
from app.waiting import MAX_WAIT_SECONDS, preference, wait_for_end
from worker.intake import Spec
from worker.jobs import Job, JobKind, ModelRef
from worker.queue import queue_of
from worker.speeds import speed
from worker.worker_list import live_workers


class Estimate(BaseModel):
    """`images` is at least what will be generated: rejected ones are made again.

    `seconds` is that of so much work with the workers that there are now, without what waits before it; null where no
    worker's speed with the model is known, or no worker is there.
    """

    images: int
    seconds: float | None


class CheckedView(BaseModel):
    """The answer to `validate_only`: what the job would be. Nothing was kept or started."""

    valid: Literal[True] = True
    kind: JobKind
    request: dict[str, Any]
    model: ModelRef
    warnings: list[str]
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Wanted:
    """How long the client waits for the end of the job (0: not at all), and what to say in Preference-Applied."""

    seconds: float
    applied: str | None


async def _wanted(
    prefer: Annotated[
        str | None, Header(description="RFC 7240: wait=N, for N seconds at most, or respond-async")
    ] = None,
    wait: Annotated[
        float | None, Query(ge=0, le=MAX_WAIT_SECONDS, description="seconds; the header goes before it")
    ] = None,
) -> Wanted:
    return Wanted(*preference(prefer, wait))


Waits = Annotated[Wanted, Depends(_wanted)]


async def ended_in_time(found: AppResources, response: Response, job: Job, wanted: Wanted) -> bool:
    """Waits as long as the client does. Sets the answer's headers, and 200 where the job has ended."""
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if wanted.applied:
        response.headers["Preference-Applied"] = wanted.applied
    if wanted.seconds and await wait_for_end(found.async_redis, job.id, wanted.seconds):
        response.status_code = 200
        return True
    response.headers["Retry-After"] = "1"
    return False


async def answer_job(found: AppResources, response: Response, job: Job, wanted: Wanted) -> JobView:
    """The accepted job; or the ended one, where the client waits and it ends in time."""
    await ended_in_time(found, response, job, wanted)
    return await run_in_threadpool(view_of, found, job, wanted)


def view_of(found: AppResources, job: Job, wanted: Wanted) -> JobView:
    """The job that was accepted or found a moment ago; looked at again where the client has waited since. Blocks."""
    current = found.intake.find(job.tenant, job.id) if wanted.seconds else job
    return job_view(current, found.intake.store.redis)


def checked(
    found: AppResources,
    response: Response,
    spec: Spec,
    model: ModelRef,
    warnings: tuple[str, ...],
    *,
    images: int,
    work: float,
    measured_as: str,
) -> CheckedView:
    """`work`: pixels x denoising steps, or a training's steps; `measured_as`: by what name its speed is known."""
    response.status_code = 200
    kind = JobKind(spec.kind)
    each = speed(found.intake.store.redis, measured_as)
    queue = queue_of(kind)
    workers = [
        one for one in live_workers(found.intake.store.redis) if one.queue == queue and one.status != "failed"
    ]
    # a generation or a training is one worker's, whatever their number
    side_by_side = len(workers) if kind is JobKind.DATASET else min(len(workers), 1)
    return CheckedView(
        kind=kind,
        request=spec.model_dump(mode="json"),
        model=model,
        warnings=list(warnings),
        estimate=Estimate(
            images=images, seconds=round(work / each / side_by_side, 1) if each and side_by_side else None
        ),
    )
