"""Confusion and intersection over union for any list of categories; weights of the classes in a loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.categories import IGNORE


def class_indices(labels: NDArray[np.uint8], categories: Sequence[int]) -> NDArray[np.uint8]:
    """Return ids as places in `categories`; every other id becomes IGNORE."""
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[list(categories)] = np.arange(len(categories))
    return np.asarray(table[labels], dtype=np.uint8)


def confusion(
    found: NDArray[np.uint8], labels: NDArray[np.uint8], categories: Sequence[int]
) -> NDArray[np.int64]:
    """Return pixel counts (true, found) of class indices `found` against id labels; other ids do not count."""
    count = len(categories)
    true = class_indices(labels, categories)
    judged = true != IGNORE
    pairs = true[judged].astype(np.int64) * count + found[judged]
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def class_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return intersection over union (..., C) of confusions (..., C, C); NaN where a class is absent."""
    hit = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    union = counts.sum(-1) + counts.sum(-2) - hit
    iou = np.full(hit.shape, np.nan)
    np.divide(hit, union, out=iou, where=union > 0)
    return iou


def class_weights(labels: NDArray[np.uint8], categories: Sequence[int]) -> NDArray[np.float64]:
    """Return 1 / sqrt(share of pixels) of each category, scaled to a mean of 1; an absent one counts as 0.1 %."""
    counts = np.bincount(labels.ravel(), minlength=256)[list(categories)].astype(np.float64)
    shares = np.maximum(counts / max(counts.sum(), 1), 1e-3)
    weights = 1 / np.sqrt(shares)
    return np.asarray(weights / weights.mean(), dtype=np.float64)
