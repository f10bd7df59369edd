"""POST /v1/generations: one mask, a few pictures, now."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.auth import Writes
from app.bodies import from_base64, parse_body
from app.dependencies import AppResources, Resources
from app.openapi import body_of, refusals, success
from app.schemas import FinishedJobView, JobView, job_view, sample_view
from app.waiting import MAX_WAIT_SECONDS, preference, wait_for_end
from models.errors import FieldError, InvalidInput
from models.masks import decode_mask
from worker.intake import MaskRecord
from worker.jobs import Job, model_ref
from worker.results import read_result, read_samples
from worker.specs import GenerationRequest, MaskFacts, resolve

router = APIRouter(tags=["generations"])


@router.post(
    "/v1/generations",
    status_code=202,
    response_model=FinishedJobView | JobView,
    responses=success(200, "the finished job, with its samples", model=FinishedJobView)
    | refusals(400, 404, 413, 415, 422, 429, 503),
    openapi_extra=body_of(GenerationRequest, file="mask"),
)
async def create_generation(
    request: Request,
    response: Response,
    found: Resources,
    tenant: Writes,
    prefer: Annotated[str | None, Header()] = None,
    wait: Annotated[float | None, Query(ge=0, le=MAX_WAIT_SECONDS)] = None,
) -> FinishedJobView | JobView:
    """Makes pictures from one mask. Answers 202 at once, or 200 with the pictures when asked to wait."""
    asked, file = await parse_body(request, GenerationRequest, file="mask", lists=("categories",))
    seconds, applied = preference(prefer, wait)
    job = await run_in_threadpool(_accept, found, tenant, asked, file)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if applied:
        response.headers["Preference-Applied"] = applied
    if seconds and await wait_for_end(found.async_redis, job.id, seconds):
        response.status_code = 200
        return await run_in_threadpool(_finished, found, tenant, job.id)
    response.headers["Retry-After"] = "1"
    return await run_in_threadpool(_current, found, tenant, job.id)


def _accept(found: AppResources, tenant: str, asked: GenerationRequest, file: bytes | None) -> Job:
    card = found.registry.find(tenant, asked.model)
    mask = _mask(found, tenant, asked, file)
    facts = MaskFacts(mask.id, mask.width, mask.height, [category.id for category in mask.categories])
    spec, warnings = resolve(asked, facts, card)
    return found.intake.submit(tenant, spec, model_ref(card), (*mask.warnings, *warnings))


def _mask(found: AppResources, tenant: str, asked: GenerationRequest, file: bytes | None) -> MaskRecord:
    given = [name for name, value in (("mask", file or asked.mask), ("mask_id", asked.mask_id)) if value]
    if file is not None and not file and asked.mask_id is None:
        given = ["mask"]
    if len(given) != 1:
        message = "Send exactly one of mask and mask_id" + (", not both." if given else ".")
        code = "mask_and_mask_id" if given else "mask_missing"
        raise InvalidInput(message, code=code, errors=[FieldError("/mask", message)])
    if asked.mask_id:
        return found.intake.find_mask(tenant, asked.mask_id)
    data = file if file is not None else from_base64(asked.mask or "", pointer="/mask")
    decoded = decode_mask(data, max_side=found.settings.max_mask_side)
    return found.intake.keep_mask(tenant, decoded)[0]


def _current(found: AppResources, tenant: str, job_id: str) -> JobView:
    return job_view(found.intake.find(tenant, job_id), found.intake.store.redis)


def _finished(found: AppResources, tenant: str, job_id: str) -> FinishedJobView:
    job = found.intake.find(tenant, job_id)
    result = read_result(found.intake.storage, tenant, job_id)
    records = read_samples(found.intake.storage, result) if result else ()
    samples = [sample_view(record, job, found.intake.storage) for record in records]
    return FinishedJobView(**dict(job_view(job, found.intake.store.redis)), samples=samples)
