"""POST /v1/generations: one mask, a few pictures, now."""

from __future__ import annotations

import hashlib

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from app.accepting import CheckedView, Waits, checked, ended_in_time, view_of
from app.auth import Writes
from app.bodies import from_base64, parse_parts
from app.dependencies import AppResources, Resources
from app.idempotency import Repeats
from app.openapi import body_of, refusals, success
from app.schemas import FinishedJobView, JobView, job_view, sample_view
from models.errors import FieldError, InvalidInput
from models.masks import DecodedMask, decode_mask
from models.model_card import ModelCard
from worker.drawing import Drawing
from worker.init_images import GivenPicture, facts_of, keep_given, read_given
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
    job = await once.job(
        asked, lambda job_id: _accept(found, tenant, asked, files, job_id), file=_told_apart(files)
    )
    if await ended_in_time(found, response, job, wanted):
        return await run_in_threadpool(_finished, found, tenant, job.id)
    return await run_in_threadpool(view_of, found, job, wanted)


def _accept(
    found: AppResources, tenant: str, asked: GenerationRequest, files: dict[str, bytes], job_id: str
) -> Job:
    card, spec, warnings = _resolve(found, tenant, asked, files, keep=True)
    return found.intake.submit(tenant, spec, model_ref(card), warnings, job_id=job_id, own=asked.own)


def _check(
    found: AppResources, response: Response, tenant: str, asked: GenerationRequest, files: dict[str, bytes]
) -> CheckedView:
    card, spec, warnings = _resolve(found, tenant, asked, files, keep=False)
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


def _resolve(
    found: AppResources, tenant: str, asked: GenerationRequest, files: dict[str, bytes], *, keep: bool
) -> tuple[ModelCard, GenerationSpec, tuple[str, ...]]:
    found.intake.check_webhook(tenant, asked.webhook)
    card = found.registry.find(tenant, asked.model)
    mask = _mask(found, tenant, asked, files.get("mask"), keep=keep)
    facts = MaskFacts(mask.id, mask.width, mask.height, [category.id for category in mask.categories])
    given = _init_image(found, asked, files.get("init_image"))
    spec, warnings = resolve(
        asked, facts, card, init_image=facts_of(given), max_tiles=found.settings.max_tiles
    )
    if given is not None:
        warnings = (*(f"init_image: {warning}" for warning in given.warnings), *warnings)
        if keep:
            keep_given(found.intake.storage, tenant, given)
    return card, spec, (*mask.warnings, *warnings)


def _told_apart(files: dict[str, bytes]) -> bytes:
    """One value for all file parts: other parts, or the same under other names, give another."""
    return b"".join(name.encode() + hashlib.sha256(files[name]).digest() for name in sorted(files))


def _init_image(found: AppResources, asked: GenerationRequest, file: bytes | None) -> GivenPicture | None:
    if file is not None and asked.init_image is not None:
        message = "Send init_image as a file part or in base64, not both."
        raise InvalidInput(message, code="repeated_field", errors=[FieldError("/init_image", message)])
    if file is None and asked.init_image is None:
        return None
    data = file if file is not None else from_base64(asked.init_image or "", pointer="/init_image")
    return read_given(data, max_side=found.settings.max_mask_side)


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
