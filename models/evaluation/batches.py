"""Training batches: windows cut from crops, as they are or with the classic augmentations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from models.evaluation.arms import Recipe, Source
from models.evaluation.crops import Crops
from models.nano.tiles import ORIENTATIONS, orient

_LARGEST_ZOOM = 1.33  # a window shows between 1 / 1.33 and 1.33 times the ground

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # (B, S, S, 3) pictures, (B, S, S) ids


def draw_batches(
    recipe: Recipe, sources: Mapping[Source, Crops], *, seed: int, steps: int, half: int, size: int
) -> Iterator[Batch]:
    """Yield `steps` batches of windows of `size` pixels: `half` from each of the recipe's two sources.

    Each half has its own stream of random numbers, made from the seed alone: arms of one seed that share their
    first source see the same windows of it in the same order.
    """
    first, second = (np.random.default_rng([seed, stream]) for stream in (30, 31))
    draw = _varied_windows if recipe.augmented else _plain_windows
    for _ in range(steps):
        images, labels = draw(sources[recipe.first], first, count=half, size=size)
        if recipe.second is not None:
            more_images, more_labels = draw(sources[recipe.second], second, count=half, size=size)
            images, labels = np.concatenate([images, more_images]), np.concatenate([labels, more_labels])
        yield images, labels


def _plain_windows(crops: Crops, rng: np.random.Generator, *, count: int, size: int) -> Batch:
    images, labels = [], []
    for place in rng.integers(len(crops), size=count):
        row, column = rng.integers(0, crops.labels.shape[1] - size + 1, size=2)
        images.append(crops.images[place, row : row + size, column : column + size])
        labels.append(crops.labels[place, row : row + size, column : column + size])
    return np.stack(images), np.stack(labels)


def _varied_windows(crops: Crops, rng: np.random.Generator, *, count: int, size: int) -> Batch:
    images, labels = [], []
    for place in rng.integers(len(crops), size=count):
        zoom = float(np.exp(rng.uniform(-1, 1) * np.log(_LARGEST_ZOOM)))
        side = min(round(size * zoom), crops.labels.shape[1])
        row, column = rng.integers(0, crops.labels.shape[1] - side + 1, size=2)
        image = crops.images[place, row : row + side, column : column + side]
        label = crops.labels[place, row : row + side, column : column + side]
        smooth = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        image = cv2.resize(image, (size, size), interpolation=smooth).astype(np.uint8)
        label = cv2.resize(label, (size, size), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        orientation = int(rng.integers(ORIENTATIONS))
        images.append(vary_colour(orient(image, orientation), rng))
        labels.append(orient(label, orientation))
    return np.stack(images), np.stack(labels)


def vary_colour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return (H, W, 3) with saturation, contrast and each channel's brightness changed by some 15 %."""
    grey = image.mean(axis=2, keepdims=True)
    saturated = grey + (image - grey) * rng.uniform(0.7, 1.3)
    middle = saturated.mean()
    changed = middle + (saturated - middle) * rng.uniform(0.8, 1.2) + rng.normal(0, 12, size=3)
    return np.asarray(np.clip(changed, 0, 255), dtype=np.uint8)
