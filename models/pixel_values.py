"""Which values an array of pixels holds, and where: quick for masks, bounded for noise."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_PIXELS = 1 << 18  # pixels handled at once where numpy needs eight bytes for each
TOO_MANY_COLORS = 16_384  # where counting stops: no mask has as many, and noise has millions


def count_values(pixels: NDArray[Any]) -> dict[int, int]:
    """Return how many pixels of (H, W) 8- or 16-bit whole numbers have each value, by ascending value."""
    flat = pixels.ravel()
    counts = np.zeros(1 << 8 * flat.dtype.itemsize, np.int64)
    for start in range(0, flat.size, CHUNK_PIXELS):
        # Masks are drawn in runs of one value, and far fewer runs than pixels are to be counted.
        chunk = flat[start : start + CHUNK_PIXELS]
        begins = np.append(0, np.flatnonzero(chunk[1:] != chunk[:-1]) + 1)
        lengths = np.diff(begins, append=chunk.size)
        counts += np.bincount(chunk[begins], weights=lengths, minlength=counts.size).astype(np.int64)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def unique_values(pixels: NDArray[Any]) -> list[int]:
    """Return the distinct values of (H, W) whole numbers, ascending.

    Of colours (32-bit) not all, once there are more than `TOO_MANY_COLORS`: such a file is refused anyway.
    """
    if pixels.dtype.itemsize <= 2:
        return list(count_values(pixels))
    flat = pixels.ravel()
    found = np.empty(0, flat.dtype)
    for start in range(0, flat.size, CHUNK_PIXELS):
        # Masks are drawn in runs of one colour: where the colour changes is enough to look at.
        chunk = flat[start : start + CHUNK_PIXELS]
        changes = np.flatnonzero(chunk[1:] != chunk[:-1]) + 1
        found = np.union1d(found, np.append(chunk[changes], chunk[:1]))
        if found.size > TOO_MANY_COLORS:
            break
    return [int(value) for value in found]


def first_pixel(pixels: NDArray[Any], wanted: Collection[int]) -> tuple[int, int, int]:
    """Return (x, y, value) of the first pixel, row by row, whose value is wanted."""
    y, x = divmod(int(np.isin(pixels, list(wanted)).argmax()), pixels.shape[1])
    return x, y, int(pixels[y, x])


def hex_color(color: int) -> str:
    return f"#{int(color):06x}"
