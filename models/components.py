"""Connected components, where pixels that touch at a corner belong together (8-connectivity)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Component:
    """A component's tight box (left, top, width, height), its area in pixels, and its shape in that box.

    `mask` is (height, width) bool. `instance_id` is the instance's number where it is one; then it may have several
    pieces.
    """

    left: int
    top: int
    width: int
    height: int
    area: int
    mask: NDArray[np.bool_]
    instance_id: int | None = None


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


def find_objects(
    mask: NDArray[np.bool_], instances: NDArray[np.uint32] | None, *, min_area: int = 1
) -> list[Component]:
    """Return what the True pixels of (H, W) are of, as `find_components` orders it.

    `instances` (H, W) tell objects apart that touch, and hold pieces together; pixels of none (0) are told by what is
    connected.
    """
    if instances is None:
        return find_components(mask, min_area=min_area)
    found = find_components(mask & (instances == 0), min_area=min_area)
    rows, columns = np.nonzero(mask & (instances != 0))
    numbers, which = np.unique(instances[rows, columns], return_inverse=True)
    order = np.argsort(which, kind="stable")
    for number, pixels in zip(numbers.tolist(), np.split(order, _bounds(which, len(numbers))), strict=False):
        if len(pixels) < min_area:
            continue
        y, x = rows[pixels], columns[pixels]
        top, left = int(y.min()), int(x.min())
        shape = np.zeros((int(y.max()) - top + 1, int(x.max()) - left + 1), np.bool_)
        shape[y - top, x - left] = True
        height, width = shape.shape
        found.append(Component(left, top, width, height, len(pixels), shape, number))
    return sorted(found, key=lambda component: (component.top, component.left))


def _bounds(which: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return where each number after the first begins, once sorted."""
    return np.cumsum(np.bincount(which, minlength=count))[:-1]
