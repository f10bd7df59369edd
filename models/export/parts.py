"""What detection formats annotate: the connected components of a label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE
from models.components import Component, find_components
from models.pixel_values import unique_values


@dataclass(frozen=True, slots=True)
class Part:
    """One component (8-connectivity) of one category."""

    category_id: int
    component: Component


def annotated_ids(*, include_stuff: bool) -> frozenset[int]:
    """Return the ids whose components are annotated: things, and land cover where asked for."""
    return frozenset(c.id for c in CATEGORIES if c.id != 0 and (c.is_thing or include_stuff))


def find_parts(ids: NDArray[np.uint8], *, min_area: int, include_stuff: bool) -> list[Part]:
    """Return the components of (H, W) ids, by ascending id, then from top to bottom."""
    wanted = annotated_ids(include_stuff=include_stuff) - {IGNORE}
    return [
        Part(number, component)
        for number in unique_values(ids)
        if number in wanted
        for component in find_components(ids == number, min_area=min_area)
    ]
