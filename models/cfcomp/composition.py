"""CF-Comp's exchange: two samples receive each other's objects, at the same pixels and hard-edged (method, 5.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.cfcomp.triple import Triple, caption_of
from models.components import find_components

MIN_COMPONENT_PX = (
    64  # smaller groups of a category stay where they are: specks, and objects cut off by a crop
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two places in a batch that exchange their objects of one category.

    In mode cross_class only `second` has the category. `overlap` is the layout term's omega, `distance` that of the
    two backgrounds' mean colours in CIELAB, `score` what the matching maximises.
    """

    first: int
    second: int
    category_id: int
    overlap: float
    distance: float
    score: float


def object_pixels(
    mask: NDArray[np.uint8], category_id: int, *, smallest_px: int = 1
) -> tuple[NDArray[np.bool_], int]:
    """Return where the category's components of at least `smallest_px` are, (H, W), and the largest one's area."""
    alpha = np.zeros(mask.shape, np.bool_)
    largest = 0
    for found in find_components(mask == category_id, min_area=smallest_px):
        box = alpha[found.top : found.top + found.height, found.left : found.left + found.width]
        box |= found.mask
        largest = max(largest, found.area)
    return alpha, largest


def compose(
    first: Triple, second: Triple, category_id: int, *, smallest_px: int = 1
) -> tuple[Triple, Triple]:
    """Return the two composites: `first` with `second`'s objects of the category, and the other way round.

    Picture and mask change at the same pixels, and the text names the categories of the mask. Where one has no such
    object, the other comes back with its own pixels.

    Raises:
        ValueError: the samples differ in size.
    """
    if first.mask.shape != second.mask.shape:
        raise ValueError(f"{first.name} is {first.mask.shape} and {second.name} {second.mask.shape}")
    return (
        _receive(first, second, category_id, smallest_px),
        _receive(second, first, category_id, smallest_px),
    )


def _receive(home: Triple, donor: Triple, category_id: int, smallest_px: int) -> Triple:
    alpha, _ = object_pixels(donor.mask, category_id, smallest_px=smallest_px)
    mask = np.where(alpha, np.uint8(category_id), home.mask)
    picture = np.where(alpha[:, :, None], donor.picture, home.picture)
    return Triple(f"{home.name}+{donor.name}", picture, mask, caption_of(mask))


def compose_batch(samples: Sequence[Triple], pairs: Sequence[Pair]) -> list[Triple]:
    """Return the batch with the members of each pair replaced by their composites, all others as they are."""
    batch = list(samples)
    for pair in pairs:
        batch[pair.first], batch[pair.second] = compose(
            samples[pair.first],
            samples[pair.second],
            pair.category_id,
            smallest_px=MIN_COMPONENT_PX,
        )
    return batch
