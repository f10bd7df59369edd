"""What is asked: a client's request, and the spec that it becomes once every default is filled in."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from models.categories import CATEGORIES, IGNORE, caption, find_category
from models.conditions import MAX_SEED
from models.errors import CategoryMismatch, FieldError, InvalidInput
from models.masks import SizePolicy
from models.model_card import ModelCard, Scheduler, check_categories, check_size, rarity_warnings
from models.rfilter.rules import Policy, RuleName
from models.tiling import plan_canvas
from worker.drawing import Drawing
from worker.jobs import OwnData
from worker.mask_reading import json_text
from worker.painting import MAX_FEATHER, InitImageFacts, check_steps, painting_of, steps_made
from worker.sizes import MAX_TILES, check_tiles, check_whole, own_size
from worker.webhook_specs import WebhookRequest

MAX_IMAGES = 16


def plain_text(text: str) -> str:
    """Text without control characters and lone surrogates, which no tokenizer, log or store should meet."""
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs"}:
            raise PydanticCustomError(
                "invalid_text", "must not contain control characters or lone surrogates"
            )
    return text


_NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f]*$"  # published; the function above says why in words
Text = Annotated[str, AfterValidator(plain_text), Field(json_schema_extra={"pattern": _NO_CONTROLS})]


class OnMismatch(StrEnum):
    ERROR = "error"  # a category that the mask lacks is refused
    WARN = "warn"  # it is kept in the prompt, and the job carries a warning


class FilterSpec(BaseModel):
    """How R-Filter judges. `thresholds`: by rule name, a number in place of the calibrated one, null: rule off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    policy: Policy = Policy.BALANCED
    max_tries: int = Field(4, ge=1, le=16, description="pictures made for one sample before it is exhausted")
    keep_rejected: bool = Field(False, description="also store the pictures of rejected tries")
    thresholds: dict[RuleName, float | None] = Field(default_factory=dict)

    @property
    def limits(self) -> dict[str, float | None]:
        """The thresholds by the rules' plain names."""
        return {name.value: limit for name, limit in self.thresholds.items()}


class Rendering(BaseModel):
    """How pictures are made, every default filled in. Sizes in pixels; names are those of diffusers.

    `width` and `height` are null in a data set of tiled pictures: each has its mask's size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    seed: int = Field(ge=0, le=MAX_SEED)
    num_inference_steps: int = Field(ge=1, le=100)
    guidance_scale: float = Field(ge=1, le=20)
    controlnet_conditioning_scale: float = Field(ge=0, le=2)
    scheduler: Scheduler
    negative_prompt: str = Field("", max_length=500)
    width: int | None
    height: int | None
    size_policy: SizePolicy = SizePolicy.RESIZE
    filter: FilterSpec = FilterSpec()
    first_try: int = Field(
        0, ge=0, description="of every sample; a retried job goes on after the tries before it"
    )

    webhook: WebhookRequest | None = None

    @property
    def tiled(self) -> bool:
        """Whether pictures may be larger than the model makes at once."""
        return self.size_policy is SizePolicy.TILE

    @property
    def steps_made(self) -> int:
        """Denoising steps of one picture."""
        return self.num_inference_steps

    def work_of(self, card: ModelCard, width: int, height: int) -> int:
        """Of one picture of that size: pixels x denoising steps, by which pictures of one model take their time."""
        return plan_canvas(card, width, height, tiled=self.tiled).pixels_seen * self.steps_made


class GenerationSpec(Rendering):
    """One mask, a few pictures, every default filled in: what is stored, queued by id, and read by the task."""

    width: int
    height: int
    kind: Literal["generation"] = "generation"
    mask_id: str
    prompt: str = Field(max_length=500)
    categories: tuple[str, ...]
    on_mismatch: OnMismatch = OnMismatch.ERROR
    num_images: int = Field(1, ge=1, le=MAX_IMAGES)
    init_image_sha256: str | None = None
    strength: float | None = Field(None, gt=0, le=1)
    feather_pixels: int = Field(0, ge=0, le=MAX_FEATHER)
    retry_indices: tuple[int, ...] | None = Field(
        None, description="of a retried job: the samples that it makes, of all of them"
    )

    @property
    def indices(self) -> tuple[int, ...]:
        """Which samples of the mask it makes."""
        return tuple(range(self.num_images)) if self.retry_indices is None else self.retry_indices

    @property
    def samples(self) -> int:
        return len(self.indices)

    @property
    def steps_made(self) -> int:
        return steps_made(self.num_inference_steps, 1.0 if self.strength is None else self.strength)

    def region(self, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """What is painted anew of a given picture: (H, W), the mask's pixels of the categories asked for."""
        return np.isin(mask, [find_category(name).id for name in self.categories])


class RenderingRequest(BaseModel):
    """How pictures are to be made; what is not said is the model's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str | None = Field(
        None, max_length=100, description="name or name@version; default: see /v1/models"
    )
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="default: chosen, and reported in the job")
    num_inference_steps: int | None = Field(None, ge=1, le=100)
    guidance_scale: float | None = Field(None, ge=1, le=20)
    controlnet_conditioning_scale: float | None = Field(None, ge=0, le=2)
    scheduler: Scheduler | None = None
    negative_prompt: Text | None = Field(None, max_length=500)
    width: int | None = Field(
        None,
        ge=8,
        description="pixels, a multiple of 8; default: the model's native size, or with size_policy=tile the mask's",
    )
    height: int | None = Field(None, ge=8, description="pixels, a multiple of 8")
    size_policy: SizePolicy = SizePolicy.RESIZE
    filter: Annotated[FilterSpec, BeforeValidator(json_text)] = FilterSpec()

    def rendering(self, card: ModelCard, size: tuple[int | None, int | None] | None = None) -> dict[str, Any]:
        """The fields of Rendering, with the model's own where the request says nothing.

        `size`: (width, height) of the pictures where they follow from their masks, and not from the request.
        Raises InvalidInput for a size that the model cannot make.
        """
        if size is None:
            width, height = self.width or card.native_width, self.height or card.native_height
            check_size(card, width, height)
            size = width, height
        own = {
            name: getattr(card.defaults, name) if getattr(self, name) is None else getattr(self, name)
            for name in (
                "num_inference_steps",
                "guidance_scale",
                "controlnet_conditioning_scale",
                "scheduler",
                "negative_prompt",
            )
        }
        return own | {
            "model": f"{card.name}@{card.version}",
            "seed": secrets.randbelow(MAX_SEED + 1) if self.seed is None else self.seed,
            "width": size[0],
            "height": size[1],
            "size_policy": self.size_policy,
            "filter": self.filter,
        }


_MetadataKey = Annotated[Text, Field(min_length=1, max_length=64)]
_MetadataValue = Annotated[Text, Field(max_length=500)]


class JobRequest(BaseModel):
    """What every request for a job may say besides."""

    custom_id: Text | None = Field(
        None, min_length=1, max_length=128, description="your own name of the job; need not be unique"
    )
    metadata: Annotated[dict[_MetadataKey, _MetadataValue], BeforeValidator(json_text)] = Field(
        default_factory=dict, max_length=16, description="your own words on the job, given back with it"
    )
    webhook: Annotated[WebhookRequest | None, BeforeValidator(json_text)] = Field(
        None, description="who is told of the job's events, beside the endpoints of POST /v1/webhooks"
    )
    validate_only: bool = Field(
        False, description="check everything and estimate the work; nothing is kept or started"
    )

    @property
    def own(self) -> OwnData:
        return OwnData(custom_id=self.custom_id, metadata=self.metadata)


class GenerationRequest(RenderingRequest, JobRequest):
    """What a client asks, before the model's defaults and the mask's categories are filled in."""

    mask_id: str | None = Field(
        None, description="a stored mask, msk_<sha256>; exactly one of mask_id, mask and drawn_mask"
    )
    mask: str | None = Field(
        None, description="a mask file in base64 (multipart: the file part of this name)"
    )
    drawn_mask: Annotated[Drawing | None, BeforeValidator(json_text)] = Field(
        None, description="polygons and the size of their mask, as POST /v1/masks takes them"
    )
    prompt: Text | None = Field(
        None, min_length=1, max_length=500, description="free text; not together with categories"
    )
    categories: tuple[Text, ...] | None = Field(
        None, min_length=1, max_length=66, description="category names; the prompt is made of them"
    )
    on_mismatch: OnMismatch = OnMismatch.ERROR
    num_images: int = Field(1, ge=1, le=MAX_IMAGES)
    init_image: str | None = Field(
        None,
        description="a picture of the mask's size, in base64 (multipart: the file part of this name): it stays "
        "outside the mask's pixels of the categories asked for",
    )
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        description="of init_image: how far it is painted over where the mask says so; default 1",
    )
    feather_pixels: int | None = Field(
        None,
        ge=0,
        le=MAX_FEATHER,
        description="of init_image: how far new and given picture are mixed; default 0",
    )


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What a request is checked against: the mask's id, size in pixels, and the class ids in it."""

    id: str
    width: int
    height: int
    category_ids: Collection[int]


def resolve(
    request: GenerationRequest,
    mask: MaskFacts,
    card: ModelCard,
    *,
    init_image: InitImageFacts | None = None,
    max_tiles: int = MAX_TILES,
) -> tuple[GenerationSpec, tuple[str, ...]]:
    """The request with every default filled in, and warnings.

    `max_tiles`: the most that all its pictures together may have, with size_policy=tile.

    Raises InvalidInput, UnknownCategory or CategoryMismatch for what the model or the mask does not allow.
    """
    if request.prompt is not None and request.categories is not None:
        raise InvalidInput(
            "Send prompt or categories, not both: categories become the prompt.",
            code="prompt_and_categories",
            errors=[FieldError("/prompt", "not together with categories")],
        )
    present = [category_id for category_id in sorted(mask.category_ids) if category_id not in (0, IGNORE)]
    asked, warnings = _asked_categories(request, present)
    check_categories(card, {*present, *asked})
    painting = painting_of(
        init_image,
        strength=request.strength,
        feather_pixels=request.feather_pixels,
        mask_size=(mask.width, mask.height),
        asked=asked,
        present=present,
    )
    rendering = request.rendering(
        card, _own_size(request, mask, card, painting=bool(painting), max_tiles=max_tiles)
    )
    if painting:
        check_steps(rendering["num_inference_steps"], painting["strength"])
    warnings += _resizing(request, mask, rendering["width"], rendering["height"])
    spec = GenerationSpec(
        **rendering,
        **painting,
        mask_id=mask.id,
        prompt=caption(asked) if request.prompt is None else request.prompt,
        categories=tuple(CATEGORIES[category_id].name for category_id in asked),
        on_mismatch=request.on_mismatch,
        num_images=request.num_images,
        webhook=request.webhook,
    )
    return spec, (*warnings, *rarity_warnings(card, {*present, *asked}))


def _own_size(
    request: GenerationRequest, mask: MaskFacts, card: ModelCard, *, painting: bool, max_tiles: int
) -> tuple[int, int] | None:
    """The mask's (width, height) where the picture has it whatever the model's native size is; else None."""
    tiled = request.size_policy is SizePolicy.TILE
    if not tiled and not painting:
        return None
    because = "init_image" if painting else "size_policy=tile"
    size = own_size((request.width, request.height), mask.width, mask.height, because=because)
    if tiled:
        check_tiles(card, *size, pictures=request.num_images, most=max_tiles)
    else:
        check_whole(card, *size)
    return size


def _resizing(request: GenerationRequest, mask: MaskFacts, width: int, height: int) -> tuple[str, ...]:
    """A warning when the label is not the mask as it was sent; raises when the request forbids that."""
    if (mask.width, mask.height) == (width, height):
        return ()
    sizes = f"The mask is {mask.width} x {mask.height} and the picture {width} x {height}"
    if request.size_policy is SizePolicy.REJECT:
        raise InvalidInput(
            f"{sizes}. Send a mask of that size, ask for another width and height, or another size_policy.",
            code="wrong_size",
            errors=[FieldError("/size_policy", sizes)],
        )
    return (f"{sizes}: it is resized by nearest neighbour ({request.size_policy}), and so is its label.",)


def _asked_categories(request: GenerationRequest, present: list[int]) -> tuple[list[int], tuple[str, ...]]:
    """The ids whose names go into the prompt, ascending, and a warning for each that the mask lacks."""
    if request.categories is None:
        return present, ()
    asked = sorted({find_category(name).id for name in request.categories})
    lacking = [CATEGORIES[category_id].name for category_id in asked if category_id not in present]
    if not lacking:
        return asked, ()
    has = ", ".join(CATEGORIES[category_id].name for category_id in present) or "only background"
    sentence = f"The mask has no pixel of {', '.join(lacking)}; it has {has}."
    if request.on_mismatch is OnMismatch.WARN:
        return asked, (sentence,)
    raise CategoryMismatch(
        f"{sentence} Leave these categories out, or send on_mismatch=warn.",
        errors=[FieldError("/categories", sentence)],
    )
