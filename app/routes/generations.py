"""POST /v1/generations: one mask, a few pictures, now."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from app.accepting import CheckedView, Waits, checked, ended_in_time, view_of
from app.auth import Writes
from app.bodies import from_base64, parse_body
from app.dependencies import AppResources, Resources
from app.idempotency import Repeats
from app.openapi import body_of, refusals, success
from app.schemas import FinishedJobView, JobView, job_view, sample_view
from models.errors import FieldError, InvalidInput
from models.masks import DecodedMask, decode_mask
from models.model_card import ModelCard
from worker.drawing import Drawing
from worker.jobs import Job, model_ref
from worker.mask_records import MaskRecord, record_of
from worker.results import read_result, read_samples
from worker.specs import GenerationRequest, GenerationSpec, MaskFacts, resolve

router = APIRouter(tags=["generations"])


@router.post(
    "/v1/generations",
    status_code=202,
    response_model=FinishedJobView | JobView | CheckedView,
    responses=success(
        200, "the ended job, with its samples; or what was checked", model=FinishedJobView | CheckedView
    )
    | refusals(400, 404, 409, 410, 413, 415, 422, 429, 503),
    openapi_extra=body_of(GenerationRequest, file="mask"),
)
async def create_generation(
    request: Request, response: Response, found: Resources, tenant: Writes, once: Repeats, wanted: Waits
) -> FinishedJobView | JobView | CheckedView:
    """Makes pictures from one mask. Answers 202 at once, or 200 with the pictures when asked to wait."""
    asked, file = await parse_body(request, GenerationRequest, file="mask", lists=("categories",))
    if asked.validate_only:
        return await run_in_threadpool(_check, found, response, tenant, asked, file)
    job = await once.job(asked, lambda job_id: _accept(found, tenant, asked, file, job_id), file=file)
    if await ended_in_time(found, response, job, wanted):
        return await run_in_threadpool(_finished, found, tenant, job.id)
    return await run_in_threadpool(view_of, found, job, wanted)


def _accept(
    found: AppResources, tenant: str, asked: GenerationRequest, file: bytes | None, job_id: str
) -> Job:
    card, spec, warnings = _resolve(found, tenant, asked, file, keep=True)
    return found.intake.submit(tenant, spec, model_ref(card), warnings, job_id=job_id, own=asked.own)


def _check(
    found: AppResources, response: Response, tenant: str, asked: GenerationRequest, file: bytes | None
) -> CheckedView:
    card, spec, warnings = _resolve(found, tenant, asked, file, keep=False)
    return checked(
        found,
        response,
        spec,
        model_ref(card),
        warnings,
        images=spec.num_images,
        work=spec.work * spec.num_images,
        measured_as=spec.model,
    )


def _resolve(
    found: AppResources, tenant: str, asked: GenerationRequest, file: bytes | None, *, keep: bool
) -> tuple[ModelCard, GenerationSpec, tuple[str, ...]]:
    found.intake.check_webhook(tenant, asked.webhook)
    card = found.registry.find(tenant, asked.model)
    mask = _mask(found, tenant, asked, file, keep=keep)
    facts = MaskFacts(mask.id, mask.width, mask.height, [category.id for category in mask.categories])
    spec, warnings = resolve(asked, facts, card)
    return card, spec, (*mask.warnings, *warnings)


def _mask(
    found: AppResources, tenant: str, asked: GenerationRequest, file: bytes | None, *, keep: bool
) -> MaskRecord:
    ways = {"mask": file is not None or asked.mask, "mask_id": asked.mask_id, "drawn_mask": asked.drawn_mask}
    given = [name for name, value in ways.items() if value]
    if len(given) != 1:
        message = "Send exactly one of mask, mask_id and drawn_mask" + (
            f", not {len(given)}." if given else "."
        )
        code = "mask_and_mask_id" if given else "mask_missing"
        raise InvalidInput(message, code=code, errors=[FieldError("/mask", message)])
    if asked.mask_id:
        return found.intake.find_mask(tenant, asked.mask_id)
    if asked.drawn_mask is None:
        data = file if file is not None else from_base64(asked.mask or "", pointer="/mask")
        if keep:
            return found.intake.keep_mask_file(tenant, data)
        return record_of(decode_mask(data, max_side=found.settings.max_mask_side))
    drawn = _drawn(found, asked.drawn_mask)
    return found.intake.keep_mask(tenant, drawn)[0] if keep else record_of(drawn)


def _drawn(found: AppResources, drawing: Drawing) -> DecodedMask:
    if drawing.polygons is None:
        raise InvalidInput(
            "drawn_mask needs polygons.",
            code="mask_missing",
            errors=[FieldError("/drawn_mask/polygons", "is missing")],
        )
    return drawing.draw(max_side=found.settings.max_mask_side, pointer="/drawn_mask")


def _finished(found: AppResources, tenant: str, job_id: str) -> FinishedJobView:
    job = found.intake.find(tenant, job_id)
    result = read_result(found.intake.storage, tenant, job_id)
    records = read_samples(found.intake.storage, result) if result else ()
    samples = [sample_view(record, job, found.intake.storage) for record in records]
    return FinishedJobView(**dict(job_view(job, found.intake.store.redis)), samples=samples)
