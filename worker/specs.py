"""What is asked: a client's request, and the spec that it becomes once every default is filled in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from models.categories import CATEGORIES, IGNORE, caption, find_category
from models.errors import CategoryMismatch, FieldError, InvalidInput
from models.masks import SizePolicy
from models.model_card import ModelCard, check_categories, rarity_warnings
from worker.drawing import Drawing
from worker.job_request import JobRequest
from worker.mask_reading import json_text
from worker.painting import MAX_FEATHER, InitImageFacts, check_steps, painting_of, steps_made
from worker.plain_text import Text
from worker.rendering import Rendering, RenderingRequest
from worker.sizes import MAX_TILES, check_tiles, check_whole, own_size

MAX_IMAGES = 16


class OnMismatch(StrEnum):
    ERROR = "error"  # a category that the mask lacks is refused
    WARN = "warn"  # it is kept in the prompt, and the job carries a warning


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
