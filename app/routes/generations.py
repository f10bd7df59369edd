"""POST /v1/generations: one mask, a few pictures, now."""

from __future__ import annotations

import hashlib

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from app.accepting import CheckedView, Waits, checked, ended_in_time, view_of
from app.auth import Writes
from app.bodies import parse_parts
from app.dependencies import AppResources, Resources
from app.generating import accept_generation, resolve_generation
from app.idempotency import Repeats
from app.openapi import body_of, refusals, success
from app.schemas import FinishedJobView, JobView, job_view, sample_view
from worker.jobs import Job, model_ref
from worker.results import read_result, read_samples
from worker.specs import GenerationRequest

router = APIRouter(tags=["generations"])


@router.post(
    "/v1/generations",
    status_code=202,
    response_model=FinishedJobView | JobView | CheckedView,
    responses=success(
        200, "the ended job, with its samples; or what was checked", model=FinishedJobView | CheckedView
    )
    | refusals(400, 404, 409, 410, 413, 415, 422, 429, 503),
    openapi_extra=body_of(GenerationRequest, file="mask", more_files=("init_image",)),
)
async def create_generation(
    request: Request, response: Response, found: Resources, tenant: Writes, once: Repeats, wanted: Waits
) -> FinishedJobView | JobView | CheckedView:
    """Makes pictures from one mask. Answers 202 at once, or 200 with the pictures when asked to wait.

    With an `init_image` the mask's pixels of the categories asked for are painted into it, and the rest of it stays.
    """
    asked, files = await parse_parts(
        request, GenerationRequest, files=("mask", "init_image"), lists=("categories",)
    )
    if asked.validate_only:
        return await run_in_threadpool(_check, found, response, tenant, asked, files)
    seen: dict[str, JobView] = {}

    def accept(job_id: str) -> Job:
        job = accept_generation(found, tenant, asked, files, job_id)
        if not wanted.seconds:  # in the same thread: whoever does not wait sees the job as it was accepted
            seen[job.id] = view_of(found, job, wanted)
        return job

    job = await once.job(asked, accept, file=_told_apart(files))
    if await ended_in_time(found, response, job, wanted):
        return await run_in_threadpool(_finished, found, tenant, job.id)
    if job.id in seen:
        return seen[job.id]
    return await run_in_threadpool(view_of, found, job, wanted)


def _check(
    found: AppResources, response: Response, tenant: str, asked: GenerationRequest, files: dict[str, bytes]
) -> CheckedView:
    card, spec, warnings = resolve_generation(found, tenant, asked, files, keep=False)
    return checked(
        found,
        response,
        spec,
        model_ref(card),
        warnings,
        images=spec.num_images,
        work=spec.work_of(card, spec.width, spec.height) * spec.num_images,
        measured_as=spec.model,
    )


def _told_apart(files: dict[str, bytes]) -> bytes:
    """One value for all file parts: other parts, or the same under other names, give another."""
    return b"".join(name.encode() + hashlib.sha256(files[name]).digest() for name in sorted(files))


def _finished(found: AppResources, tenant: str, job_id: str) -> FinishedJobView:
    job = found.intake.find(tenant, job_id)
    result = read_result(found.intake.storage, tenant, job_id)
    records = read_samples(found.intake.storage, result) if result else ()
    samples = [sample_view(record, job, found.intake.storage) for record in records]
    return FinishedJobView(**dict(job_view(job, found.intake.store.redis)), samples=samples)
