"""Affine maps of the plane as six numbers, in the order of rasterio and of world files' meaning.

(a, b, c, d, e, f) takes (x, y) to (a·x + b·y + c, d·x + e·y + f). For a georeferenced picture x is the column and y
the row, counted from the outer corner of the first pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Affine = tuple[float, float, float, float, float, float]

IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def shifted(x: float, y: float) -> Affine:
    """Return the map that adds (x, y)."""
    return (1.0, 0.0, x, 0.0, 1.0, y)


def scaled(x: float, y: float) -> Affine:
    """Return the map that multiplies by (x, y)."""
    return (x, 0.0, 0.0, 0.0, y, 0.0)


def compose(outer: Affine, inner: Affine) -> Affine:
    """Return the map that applies `inner` first, then `outer`."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, m = inner
    return (
        a * g + b * j,
        a * h + b * k,
        a * i + b * m + c,
        d * g + e * j,
        d * h + e * k,
        d * i + e * m + f,
    )


def is_usable(map_: Affine) -> bool:
    """Whether the numbers are finite and the map can be inverted."""
    a, b, _, d, e, _ = map_
    area = a * e - b * d
    return all(map(math.isfinite, (*map_, area))) and abs(area) > 1e-300


def inverse(map_: Affine) -> Affine:
    """Return the map back; `map_` must be usable."""
    a, b, c, d, e, f = map_
    area = a * e - b * d
    return (e / area, -b / area, (b * f - c * e) / area, -d / area, a / area, (c * d - a * f) / area)


def applied(map_: Affine, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 2) points, mapped.

    Inverse maps of distant coordinates lose digits where terms cancel, so they are centred on the first point.
    """
    a, b, _, d, e, _ = map_
    first = np.array(applied_to(map_, float(points[0, 0]), float(points[0, 1])))
    out: NDArray[np.float64] = (points - points[0]) @ np.array([[a, d], [b, e]]) + first
    return out


def applied_to(map_: Affine, x: float, y: float) -> tuple[float, float]:
    """Return (x, y), mapped, rounded once."""
    a, b, c, d, e, f = map_
    return math.fsum((a * x, b * y, c)), math.fsum((d * x, e * y, f))
