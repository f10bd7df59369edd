"""Toy places whose categories are told by colour, and a segmenter that does so."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.nano.tiles import Tile
from models.rfilter.agreement import Belief

COLORS = {1: (205, 190, 170), 4: (105, 100, 110), 5: (45, 95, 50), 6: (15, 40, 70), 8: (215, 110, 95)}


def toy_mask(rng: np.random.Generator, size: int = 256) -> NDArray[np.uint8]:
    """Ids of COLORS in blobs: each pixel takes the category whose smooth noise is highest there; sand is favoured."""
    fields = [cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), 16) for _ in COLORS]
    fields[0] = fields[0] + 0.01
    return np.array(list(COLORS), np.uint8)[np.argmax(fields, axis=0)]


def toy_picture(
    mask: NDArray[np.uint8], rng: np.random.Generator, *, grain: float = 12.0
) -> NDArray[np.uint8]:
    """The mask in its colours with grain."""
    table = np.zeros((256, 3))
    for number, color in COLORS.items():
        table[number] = color
    return (table[mask] + rng.normal(0, grain, (*mask.shape, 3))).clip(0, 255).astype(np.uint8)


def toy_tile(name: str, seed: int, size: int = 512) -> Tile:
    rng = np.random.default_rng(seed)
    mask = toy_mask(rng, size)
    return Tile(name, toy_picture(mask, rng), mask)


@dataclass(frozen=True)
class ColorSegmenter:
    """Believes in the category of the nearest colour; the feature is the share of each."""

    digest: str = "c01ca5e90000"
    category_ids: tuple[int, ...] = tuple(COLORS)

    def believe(self, image: NDArray[np.uint8]) -> Belief:
        colors = np.array([COLORS[number] for number in self.category_ids], np.float32)
        distances = np.linalg.norm(image[None].astype(np.float32) - colors[:, None, None], axis=-1) / 12
        logs = -distances - np.log(np.exp(-distances).sum(0))
        shares = np.exp(logs).mean((1, 2)) - 1 / len(colors)
        return Belief(logs.astype(np.float32), self.category_ids, shares.astype(np.float32))
