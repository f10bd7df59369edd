"""Mask files for tests, written by Pillow and NumPy: a second source beside our own encoder."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(array: NDArray[np.uint8]) -> bytes:
    """An 8-bit PNG: grey for (H, W), RGB for (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def road_and_buildings(side: int = 64) -> NDArray[np.uint8]:
    """A road across, two houses, bare land around: ids {1, 4, 8}."""
    ids = np.ones((side, side), np.uint8)
    ids[side // 2 - 4 : side // 2 + 4] = 4
    unit = side // 16
    ids[unit : 4 * unit, unit : 4 * unit] = 8
    ids[unit : 4 * unit, 8 * unit : 13 * unit] = 8
    return ids


OFF = '{"policy": "off"}'
"""R-Filter off, as a form sends it: two denoising steps make no picture that a filter would accept."""
