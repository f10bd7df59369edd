"""Connected components, where pixels that touch at a corner belong together (8-connectivity)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Component:
    """A component's tight box (left, top, width, height), its area in pixels, and its shape in that box.

    `mask` is (height, width) bool.
    """

    left: int
    top: int
    width: int
    height: int
    area: int
    mask: NDArray[np.bool_]


def count_components(mask: NDArray[np.bool_]) -> int:
    """Return how many components the True pixels of (H, W) form."""
    import cv2  # not at import: the API starts without it

    return int(cv2.connectedComponents(mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)[0]) - 1


def find_components(mask: NDArray[np.bool_], *, min_area: int = 1) -> list[Component]:
    """Return the components of at least `min_area` pixels, from top to bottom, then left to right."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    found = []
    for label, (left, top, width, height, area) in enumerate(stats.tolist()[1:], start=1):
        if area >= min_area:
            crop = labels[top : top + height, left : left + width] == label
            found.append(Component(left, top, width, height, area, crop))
    return sorted(found, key=lambda component: (component.top, component.left))
