"""One way in for generations, whatever the request looked like."""

from __future__ import annotations

from app.bodies import from_base64
from app.dependencies import AppResources
from models.errors import FieldError, InvalidInput
from models.masks import DecodedMask, decode_mask
from models.model_card import ModelCard
from worker.drawing import Drawing
from worker.init_images import GivenPicture, facts_of, keep_given, read_given
from worker.jobs import Job, model_ref
from worker.mask_records import MaskRecord, record_of
from worker.specs import GenerationRequest, GenerationSpec, MaskFacts, resolve


def accept_generation(
    found: AppResources, tenant: str, asked: GenerationRequest, files: dict[str, bytes], job_id: str
) -> Job:
    """The accepted job: its mask stored, its request durable. `files`: those beside the request, by field. Blocks."""
    card, spec, warnings = resolve_generation(found, tenant, asked, files, keep=True)
    return found.intake.submit(tenant, spec, model_ref(card), warnings, job_id=job_id, own=asked.own)


def resolve_generation(
    found: AppResources, tenant: str, asked: GenerationRequest, files: dict[str, bytes], *, keep: bool
) -> tuple[ModelCard, GenerationSpec, tuple[str, ...]]:
    """The request with every default filled in, and warnings; without `keep` nothing is stored. Blocks."""
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
