"""The records of the method: what is asked of the model, what it made, and what is labelled in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Background:
    """A given picture (H, W, 3) uint8 RGB that stays, bit for bit, outside `region` (H, W) bool.

    `strength`, above 0 to 1: how far the region goes away from what was there; 1 starts from noise alone. Up to
    `feather_pixels` beyond the region new and given picture are mixed; 0: a sharp border.
    """

    image: NDArray[np.uint8]
    region: NDArray[np.bool_]
    strength: float = 1.0
    feather_pixels: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """What one picture is made from.

    `mask` is (H, W) uint8 EarthSynth class ids at the picture's own size (255: ignore, shown to the model as 0).
    `seed` is this picture's own, already derived from the job's seed (see `models.conditions`). `background`: what
    stays of a given picture of the same size; None: the whole picture is made.
    """

    index: int
    mask: NDArray[np.uint8]
    prompt: str
    seed: int
    negative_prompt: str = ""
    background: Background | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A condition and its picture, (H, W, 3) uint8 RGB."""

    condition: Condition
    image: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object of a thing category in a conditioning mask: an instance, or a connected component (8-connectivity).

    `box_xywh` is (left, top, width, height) in pixels, tight; `area` in pixels. `polygons` are COCO rings
    [x0, y0, x1, y1, …] of outer contours in pixel coordinates; `rle` is COCO's compressed form
    {"size": [H, W], "counts": str}, exact, holes included. `instance_id` is the instance's number, None for a
    component.
    """

    category_id: int
    category: str
    box_xywh: tuple[int, int, int, int]
    area: int
    polygons: tuple[tuple[float, ...], ...]
    rle: dict[str, Any]
    instance_id: int | None = None
