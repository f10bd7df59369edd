"""What detection formats annotate: the objects of a label, told apart by its instances or by what is connected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE
from models.components import Component, find_objects
from models.pixel_values import unique_values


@dataclass(frozen=True, slots=True)
class Part:
    """One object of one category: an instance, or a component (8-connectivity)."""

    category_id: int
    component: Component


def annotated_ids(*, include_stuff: bool) -> frozenset[int]:
    """Return the ids whose components are annotated: things, and land cover where asked for."""
    return frozenset(c.id for c in CATEGORIES if c.id != 0 and (c.is_thing or include_stuff))


def find_parts(
    ids: NDArray[np.uint8],
    *,
    min_area: int,
    include_stuff: bool,
    instances: NDArray[np.uint32] | None = None,
) -> list[Part]:
    """Return the objects of (H, W) ids, by ascending id, then from top to bottom."""
    wanted = annotated_ids(include_stuff=include_stuff) - {IGNORE}
    return [
        Part(number, component)
        for number in unique_values(ids)
        if number in wanted
        for component in find_objects(ids == number, instances, min_area=min_area)
    ]
