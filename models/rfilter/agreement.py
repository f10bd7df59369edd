"""R4, R5, R6 and R8 in numbers: how far a segmenter's answer agrees with the conditioning mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.categories import IGNORE

SMALLEST_SHARE = 0.01  # of the picture: a category below it is too small to be judged
LOWEST_LOG = -6.0  # log probabilities are cut here in means, so that few pixels do not decide
LOG_ODDS = 1.0  # nats by which another category must be likelier than the mask's own
TOLERANCE = 4  # pixels: an object that sticks out of its mask by less has not leaked


@dataclass(frozen=True, slots=True)
class Belief:
    """A segmenter's answer: `log_probabilities` (C, H, W) float32 of `category_ids` (C ids), and a feature (D,)."""

    log_probabilities: NDArray[np.float32]
    category_ids: tuple[int, ...]
    feature: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """One category of a mask.

    `share` of the picture; `recall` and `iou` of the segmenter's answer; `contrast`: the category's mean log
    probability inside its mask, less outside (the picture is its own yardstick, so place and sensor hardly matter);
    `loss`: mean cross-entropy in nats.
    """

    share: float
    recall: float
    iou: float
    contrast: float
    loss: float


def category_indices(mask: NDArray[np.uint8], category_ids: Sequence[int]) -> NDArray[np.uint8]:
    """Return ids as indices into `category_ids`; 255 for all others."""
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[list(category_ids)] = np.arange(len(category_ids))
    return np.asarray(table[mask], dtype=np.uint8)


def pixel_loss(belief: Belief, indices: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the cross-entropy (H, W) in nats of each pixel's category; 0 where the index is 255."""
    known = indices != IGNORE
    rows = np.where(known, indices, 0)[None]
    loss = -np.take_along_axis(belief.log_probabilities, rows, axis=0)[0]
    return np.where(known, loss, np.float32(0))


def agreements(belief: Belief, indices: NDArray[np.uint8]) -> dict[int, CategoryAgreement]:
    """Return the agreement of each category that the segmenter knows and that covers 1 % or more of the mask."""
    classes = len(belief.category_ids)
    known = indices != IGNORE
    true = indices[known].astype(np.intp)
    logs = belief.log_probabilities[:, known]  # (C, N)
    found = logs.argmax(0)
    counts = np.bincount(true * classes + found, minlength=classes * classes).reshape(classes, classes)
    result = {}
    for index, category in enumerate(belief.category_ids):
        pixels = int(counts[index].sum())
        if pixels < SMALLEST_SHARE * indices.size:
            continue
        hit = int(counts[index, index])
        own = true == index
        result[category] = CategoryAgreement(
            share=pixels / indices.size,
            recall=hit / pixels,
            iou=hit / (pixels + int(counts[:, index].sum()) - hit),
            contrast=_contrast(logs[index], own),
            loss=float(-logs[index, own].mean(dtype=np.float64)),
        )
    return result


def _contrast(logs: NDArray[np.float32], own: NDArray[np.bool_]) -> float:
    cut = np.maximum(logs, LOWEST_LOG)
    outside = cut[~own]
    if outside.size < SMALLEST_SHARE * own.size:  # the whole picture is of this category: against chance
        return float(cut[own].mean(dtype=np.float64) - LOWEST_LOG / 2)
    return float(cut[own].mean(dtype=np.float64) - outside.mean(dtype=np.float64))


def leaks(
    belief: Belief, mask: NDArray[np.uint8], indices: NDArray[np.uint8]
) -> tuple[dict[int, NDArray[np.bool_]], NDArray[np.bool_]]:
    """Return where (H, W) each category of the mask has leaked, and where any category at all is likelier than its.

    Both lie farther than 4 px from the category's mask, are no thinner than that, and are e times as likely to be of
    it as of what the mask says (or likelier than not, where the mask says nothing we know). To have leaked, the
    category must also be as likely there as in the median pixel of its own mask: the picture is its own yardstick.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * TOLERANCE + 1, 2 * TOLERANCE + 1))
    own = np.where(indices == IGNORE, np.float32(np.log(0.5) - LOG_ODDS), -pixel_loss(belief, indices))
    leaked, likelier = {}, np.zeros(mask.shape, np.bool_)
    for logs, category in zip(belief.log_probabilities, belief.category_ids, strict=True):
        inside = mask == category
        outside = cv2.dilate(inside.astype(np.uint8), kernel) == 0
        found = (logs - own > LOG_ODDS) & outside
        likelier |= found
        if inside.any():
            leaked[category] = _thick(found & (logs >= np.median(logs[inside])), kernel)
    return leaked, _thick(likelier, kernel)


def _thick(found: NDArray[np.bool_], kernel: NDArray[np.uint8]) -> NDArray[np.bool_]:
    if not found.any():
        return found
    return np.asarray(cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, kernel), dtype=np.bool_)
