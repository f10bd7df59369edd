"""Exact rasterising of rings: a pixel is inside where its centre is.

Centres lie at (column + 1/2, row + 1/2). A centre that lies on an outline belongs to the side right of or below it
(the top-left rule of graphics hardware), so areas that share an edge neither overlap nor leave a gap. A ring that
crosses itself is filled by the even-odd rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK_CROSSINGS = 1 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """Where something lies in a picture: `inside` (rows, columns) bool at (top, left)."""

    top: int
    left: int
    inside: NDArray[np.bool_]

    @property
    def place(self) -> tuple[slice, slice]:
        rows, columns = self.inside.shape
        return slice(self.top, self.top + rows), slice(self.left, self.left + columns)


def window_of(ring: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the pixels whose centres a ring may hold; none where right <= left."""
    (x0, y0), (x1, y1) = (ring.min(axis=0) - 0.5).tolist(), (ring.max(axis=0) - 0.5).tolist()
    left, right = (math.ceil(min(max(x, 0), width)) for x in (x0, x1))
    top, bottom = (math.ceil(min(max(y, 0), height)) for y in (y0, y1))
    return left, top, right, bottom


def count_crossings(ring: NDArray[np.float64], height: int) -> int:
    """Return how often the ring's edges cross the middle of one of `height` rows: what `fill` has to work through."""
    y0, y1 = ring[:, 1], _ends(ring)[:, 1]
    first, last = _rows(np.minimum(y0, y1), np.maximum(y0, y1), 0, height)
    return int((last - first).sum())


def fill(ring: NDArray[np.float64], box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Return which pixels of the box (left, top, right, bottom) lie inside one ring (N, 2) of x, y, as bool.

    The ring's end is joined with its start.
    """
    left, top, right, bottom = box
    rows, columns = bottom - top, right - left
    toggles = np.zeros((rows, columns + 1), np.uint8)
    ends = _ends(ring)
    # Each edge from its upper end, so that two areas with a common edge cross it at the very same x.
    down = (ring[:, 1] <= ends[:, 1])[:, None]
    upper, lower = np.where(down, ring, ends), np.where(down, ends, ring)
    first, last = _rows(upper[:, 1], lower[:, 1], top, bottom)
    for edges, row in _crossings(first, last):
        (x0, y0), (x1, y1) = upper[edges].T, lower[edges].T
        x = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        column = np.ceil(np.minimum(np.maximum(x - (0.5 + left), 0), columns)).astype(np.intp)
        np.bitwise_xor.at(toggles.reshape(-1), (row - top) * (columns + 1) + column, np.uint8(1))
    np.bitwise_xor.accumulate(toggles, axis=1, out=toggles)
    return toggles[:, :columns].view(np.bool_)


def _ends(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate((ring[1:], ring[:1]))


def _rows(
    y0: NDArray[np.float64], y1: NDArray[np.float64], top: int, bottom: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return for edges from y0 down to y1 the rows first … last - 1 of top … bottom - 1 whose middle they cross."""
    first = np.ceil(np.minimum(np.maximum(y0 - 0.5, top), bottom)).astype(np.intp)
    last = np.ceil(np.minimum(np.maximum(y1 - 0.5, top), bottom)).astype(np.intp)
    return first, last


def _crossings(
    first: NDArray[np.intp], last: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield edges and rows that cross, so many at a time that they fit into memory."""
    edges = np.flatnonzero(last > first)
    counts = (last - first)[edges]
    total = np.cumsum(counts)
    start = 0
    while start < len(edges):
        done = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + _CHUNK_CROSSINGS)))
        count = counts[start:stop]
        repeated = np.repeat(edges[start:stop], count)
        steps = np.arange(len(repeated)) - np.repeat(np.cumsum(count) - count, count)
        yield repeated, first[repeated] + steps
        start = stop
