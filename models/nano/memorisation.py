"""Has the model learned its training pictures by heart? Distance of pictures to the nearest training crop."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from models.nano.tiles import ORIENTATIONS, Tile, orient

_SIDE = 16  # cells: a 256 px picture at 12.8 m a cell
_STRIDE = 2  # cells between training windows: 32 px


def nearest_distances(images: NDArray[np.uint8], tiles: Sequence[Tile]) -> dict[str, float]:
    """Return quantiles of each picture's distance to the nearest window of any training tile.

    Pictures (N, S, S, 3) and windows of S pixels, each 32 px and in all eight orientations, are reduced to
    16 x 16 cells, freed of mean and contrast; the distance is 1 - correlation: 0 is a copy, 1 unrelated.
    """
    size = images.shape[1]
    windows = []
    for tile in tiles:
        small = _shrink(tile.image, tile.image.shape[0] * _SIDE // size, tile.image.shape[1] * _SIDE // size)
        for row in range(0, small.shape[0] - _SIDE + 1, _STRIDE):
            for column in range(0, small.shape[1] - _SIDE + 1, _STRIDE):
                windows.append(small[row : row + _SIDE, column : column + _SIDE])
    known = _unit_rows(np.stack(windows))  # (M, 768)
    best = np.full(len(images), -1.0)
    for orientation in range(ORIENTATIONS):
        turned = np.stack([_shrink(orient(image, orientation), _SIDE, _SIDE) for image in images])
        best = np.maximum(best, (_unit_rows(turned) @ known.T).max(1))
    distance = 1 - best
    return {f"q{q:02d}": round(float(np.quantile(distance, q / 100)), 4) for q in (0, 5, 50)}


def _shrink(image: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _unit_rows(images: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = images.reshape(len(images), -1)
    rows = rows - rows.mean(1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / (lengths + 1e-6), dtype=np.float32)
