"""Masks as maps look: smooth regions of the categories that nano knows, with roads and houses."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.pictures import png

GROUNDS = (1, 5, 6)  # of nano's categories: what covers an area; 4 are roads, 8 are buildings
SIDE = 512


def land_cover(seed: int, side: int = SIDE) -> NDArray[np.uint8]:
    """(side, side) ids: fields with soft borders, two roads, some thirty houses."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((len(GROUNDS), side // 32, side // 32), np.float32)
    fields = np.stack([cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC) for plane in coarse])
    ids = np.array(GROUNDS, np.uint8)[fields.argmax(0)]
    for _ in range(2):
        first, last = rng.integers(0, side, 2).tolist(), rng.integers(0, side, 2).tolist()
        cv2.line(ids, [0, first[0]], [side - 1, last[1]], 4, 5)
    for x, y, width, height in rng.integers((0, 0, 6, 6), (side - 20, side - 20, 20, 20), (30, 4)).tolist():
        ids[y : y + height, x : x + width] = 8
    return ids


def files(count: int, *, distinct: int = 200) -> list[bytes]:
    """`count` different PNG files, made of `distinct` different scenes with a house somewhere else in each."""
    scenes = [land_cover(seed) for seed in range(min(count, distinct))]
    made = []
    for number in range(count):
        ids = scenes[number % len(scenes)]
        if number >= len(scenes):
            ids = ids.copy()
            place = number // len(scenes)
            ids[place % 50 * 10 : place % 50 * 10 + 3, place // 50 * 7 : place // 50 * 7 + 3] = 8
        made.append(png(ids))
    assert len(set(made)) == count, "two masks are equal"
    return made
