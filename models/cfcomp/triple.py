"""What training sees: a picture, its mask and its text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.categories import caption
from models.pixel_values import unique_values


@dataclass(frozen=True, slots=True, eq=False)
class Triple:
    """`picture` is (H, W, 3) uint8 RGB, `mask` (H, W) uint8 of EarthSynth ids, 0 anything and 255 ignore.

    `name` is that of the files it was made from, for people.
    """

    name: str
    picture: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    text: str


def caption_of(mask: NDArray[np.uint8]) -> str:
    """Return EarthSynth's prompt for the categories of a mask."""
    return caption(unique_values(mask))
