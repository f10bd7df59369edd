"""Label mapping: every label is a pure function of the conditioning mask, never of the picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE, Category
from models.components import Component, find_objects
from models.pixel_values import unique_values
from models.polygons import outer_rings
from models.sample import Annotation


def image_categories(ids: NDArray[np.uint8], min_share: float = 0.01) -> list[Category]:
    """Return the categories that cover at least `min_share` of all pixels, ascending; never background or ignore."""
    needed = min_share * ids.size
    return [
        CATEGORIES[number]
        for number in unique_values(ids)
        if number not in {0, IGNORE} and np.count_nonzero(ids == number) >= needed
    ]


def with_ignored(
    ids: NDArray[np.uint8], ignore: NDArray[np.bool_], instances: NDArray[np.uint32] | None = None
) -> NDArray[np.uint8]:
    """Return the label (H, W) uint8: `ids` with 255 where `ignore` (H, W) says so.

    An object of a thing category is ignored as a whole, when more than half of its pixels are to be, or not at all:
    so it stays one component and keeps its box. Background stays 0.
    """
    label = np.where(ignore & (ids != 0), np.uint8(IGNORE), ids)
    for number in unique_values(ids):
        if number == IGNORE or not CATEGORIES[number].is_thing:
            continue
        label[ids == number] = number
        for found in find_objects(ids == number, instances):
            window = np.s_[found.top : found.top + found.height, found.left : found.left + found.width]
            if 2 * np.count_nonzero(ignore[window] & found.mask) > found.area:
                label[window][found.mask] = IGNORE
    return label


def annotations(
    ids: NDArray[np.uint8], *, instances: NDArray[np.uint32] | None = None, min_area: int = 1
) -> list[Annotation]:
    """Return one annotation for each object of each thing category: its instances, or else connected components.

    `ids` is (H, W) uint8. Sorted by category id, then from top to bottom. Stuff (land cover), background and
    ignore have none. Where no instances (H, W) tell them apart, two objects of one category that touch, even at a
    corner, are one component. Objects below `min_area` pixels are left out.
    """
    found = []
    for number in unique_values(ids):
        if number == IGNORE or not CATEGORIES[number].is_thing:
            continue
        for component in find_objects(ids == number, instances, min_area=min_area):
            box = (component.left, component.top, component.width, component.height)
            found.append(
                Annotation(
                    category_id=number,
                    category=CATEGORIES[number].name,
                    box_xywh=box,
                    area=component.area,
                    polygons=outer_rings(component.mask, component.left, component.top),
                    rle=_rle(component, ids.shape[0], ids.shape[1]),
                    instance_id=component.instance_id,
                )
            )
    return found


def _rle(component: Component, height: int, width: int) -> dict[str, Any]:
    """Return COCO's compressed run-length encoding of a component in a picture of (height, width)."""
    from pycocotools import mask as coco

    columns, rows = np.nonzero(component.mask.T)  # COCO counts down the columns
    places = (columns + component.left) * height + rows + component.top
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.append(0, breaks + 1)]
    ends = places[np.append(breaks, len(places) - 1)] + 1
    bounds = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [height * width]])
    counts = np.diff(bounds).tolist()
    packed = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode("ascii")}
