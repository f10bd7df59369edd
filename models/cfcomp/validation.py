"""What the model makes now of a few fixed masks and seeds: a sheet to look at, and how far it follows the masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.categories import CATEGORIES, IGNORE
from models.cfcomp.denoiser import Denoiser
from models.cfcomp.recipe import ValidationPlan
from models.conditions import derive_seed
from models.masks import resize_ids
from models.overlay import draw_overlay
from models.rfilter.agreement import category_indices
from models.rfilter.segmenters import Segmenter
from models.sample import Condition, Sample
from models.synthesis.pipeline import LoadedPipeline
from models.synthesis.synthesize import synthesize_by_default

_CELL = 256  # pixels, the largest side of a picture on the sheet
_GAP = 4


@dataclass(frozen=True, slots=True)
class Validation:
    """`sheet` is (H, W, 3) uint8 RGB: masks above, pictures below.

    `agreement` is the mean over categories of the IoU between what the segmenter sees in the pictures and their
    masks, in [0, 1]; `iou` has it by category name. Both are empty without a segmenter.
    """

    step: int
    sheet: NDArray[np.uint8]
    agreement: float | None
    iou: dict[str, float]


def conditions_of(
    masks: Sequence[tuple[NDArray[np.uint8], str]], plan: ValidationPlan, size: int
) -> list[Condition]:
    """Return masks (H, W) of ids and their texts as conditions of `size` pixels, cut from the middle of the masks.

    The plan's prompts take the place of the first texts; a mask that is smaller than `size` is enlarged by nearest.
    """
    conditions = []
    for index, (mask, text) in enumerate(masks):
        side = min(size, *mask.shape)
        top, left = ((length - side) // 2 for length in mask.shape)
        cut = resize_ids(mask[top : top + side, left : left + side], size, size)
        told = plan.prompts[index] if index < len(plan.prompts) else text
        conditions.append(Condition(index, cut, told, derive_seed(plan.seed, index)))
    return conditions


def validate(
    step: int,
    *,
    loaded: LoadedPipeline,
    denoiser: Denoiser,
    averages: EMAModel | None,
    conditions: Sequence[Condition],
    half: torch.dtype | None,
    segmenter: Segmenter | None,
    on_step: Callable[[int, int, int], None],
) -> Validation:
    """Make the pictures with the model's own settings and the averaged weights, where there are any.

    `on_step` is called after each denoising step, as `synthesize` says; what it raises passes through.
    """
    with (
        _made_ready(denoiser, averages),
        torch.no_grad(),
        torch.autocast(loaded.device.type, dtype=half, enabled=half is not None),
    ):
        samples = list(synthesize_by_default(loaded, conditions, on_step=on_step))
    iou = {} if segmenter is None else _iou(samples, segmenter)
    agreement = round(float(np.mean(list(iou.values()))), 4) if iou else None
    return Validation(step, draw_sheet(samples), agreement, iou)


@contextmanager
def _made_ready(denoiser: Denoiser, averages: EMAModel | None) -> Iterator[None]:
    """Hold the averaged weights, in eval mode, and put everything back."""
    parameters = list(denoiser.trained().values())
    if averages is not None:
        averages.store(parameters)
        averages.copy_to(parameters)
    denoiser.eval()
    try:
        yield
    finally:
        denoiser.train()
        if averages is not None:
            averages.restore(parameters)


def _iou(samples: Sequence[Sample], segmenter: Segmenter) -> dict[str, float]:
    """Return the IoU over all pictures of each category that the segmenter knows and a mask has."""
    hits: dict[int, int] = {}
    unions: dict[int, int] = {}
    for sample in samples:
        belief = segmenter.believe(sample.image)
        wanted = category_indices(sample.condition.mask, belief.category_ids)
        known = wanted != IGNORE
        seen = belief.log_probabilities.argmax(0)
        for index, category in enumerate(belief.category_ids):
            mine, its = known & (wanted == index), known & (seen == index)
            hits[category] = hits.get(category, 0) + int((mine & its).sum())
            unions[category] = unions.get(category, 0) + int((mine | its).sum())
    there = {category for sample in samples for category in np.unique(sample.condition.mask).tolist()}
    return {
        CATEGORIES[category].name: round(hits[category] / unions[category], 4)
        for category in sorted(there & hits.keys())
        if unions[category]
    }


def draw_sheet(samples: Sequence[Sample]) -> NDArray[np.uint8]:
    """Return the sheet: in each column a picture under its mask, which lies over the picture in its colours."""
    side = _CELL + _GAP
    paper = Image.new("RGB", (len(samples) * side + _GAP, 2 * side + _GAP), (255, 255, 255))
    for column, sample in enumerate(samples):
        masked = draw_overlay(sample.image, sample.condition.mask)
        for row, picture in enumerate((masked, sample.image)):
            cell = ImageOps.contain(Image.fromarray(picture), (_CELL, _CELL), Image.Resampling.NEAREST)
            paper.paste(cell, (column * side + _GAP, row * side + _GAP))
    return np.asarray(paper)
