"""A segmenter's answer to a picture larger than it can look at in one piece."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.rfilter.agreement import Belief
from models.rfilter.segmenters import Segmenter
from models.tiling import hill, starts

LARGEST = 1024  # pixels a side: up to this a picture is looked at as a whole, as in the calibration
_TILE = 512


def believe(segmenter: Segmenter, image: NDArray[np.uint8]) -> Belief:
    """Return what it sees in a picture (H, W, 3); beyond `LARGEST` tile by tile, overlaps averaged."""
    height, width = image.shape[:2]
    if max(height, width) <= LARGEST:
        return segmenter.believe(image)
    rows, columns = min(height, _TILE), min(width, _TILE)
    weights = (hill(rows)[:, None] * hill(columns)).astype(np.float32)
    tops, lefts = starts(height, rows), starts(width, columns)
    counted = np.zeros((height, width), np.float32)
    total: NDArray[np.float32] | None = None
    features: list[NDArray[np.float32]] = []
    ids: tuple[int, ...] = ()
    for top in tops:
        for left in lefts:
            window = np.s_[top : top + rows, left : left + columns]
            found = segmenter.believe(np.ascontiguousarray(image[window]))
            if total is None:
                total, ids = (
                    np.zeros((len(found.category_ids), height, width), np.float32),
                    found.category_ids,
                )
            total[:, *window] += np.exp(found.log_probabilities) * weights
            counted[window] += weights
            features.append(found.feature)
    if total is None:
        raise ValueError("a picture has at least one tile")
    logs = np.log(np.maximum(total / counted, np.finfo(np.float32).tiny))
    return Belief(logs, ids, np.mean(features, axis=0, dtype=np.float32))
