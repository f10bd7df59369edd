"""A picture larger than a model makes at once, as overlapping tiles of the model's own size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.model_card import ModelCard

OVERLAP = 1 / 4  # of a tile's side, at least: neighbours see that much of each other
_LEAST_WEIGHT = 1e-3  # at a tile's edge, so that no pixel is without weight


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is denoised for a picture of `picture_width` x `picture_height`: that, filled up to `width` x `height`.

    `width`, `height` and the tiles' places are multiples of the model's `size_multiple`, in pixels. Tiles lie at
    every (left, top) of `lefts` and `tops`; a single one covers the canvas.
    """

    picture_width: int
    picture_height: int
    width: int
    height: int
    tile_width: int
    tile_height: int
    lefts: tuple[int, ...]
    tops: tuple[int, ...]

    @property
    def tiles(self) -> tuple[tuple[int, int], ...]:
        """(left, top) of each tile, row by row."""
        return tuple((left, top) for top in self.tops for left in self.lefts)

    @property
    def pixels_seen(self) -> int:
        """How many pixels the model looks at for one denoising step, overlaps counted as often as they are seen."""
        return len(self.tiles) * self.tile_width * self.tile_height

    def pictures_at_once(self, tiles_at_once: int) -> int:
        """Return how many pictures one batch of so many tiles holds: at least one, whose tiles may take several."""
        return max(1, tiles_at_once // len(self.tiles))

    def window(self, left: int, top: int, cell: int = 1) -> tuple[slice, slice]:
        """Return the rows and columns of the tile at (left, top), counted in cells of `cell` pixels."""
        return (
            slice(top // cell, (top + self.tile_height) // cell),
            slice(left // cell, (left + self.tile_width) // cell),
        )

    def filled(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (H, W) or (H, W, C) pixels of the picture at the canvas's size, its last row and column repeated."""
        below, right = self.height - self.picture_height, self.width - self.picture_width
        if not below and not right:
            return pixels
        return np.pad(pixels, ((0, below), (0, right), *((0, 0),) * (pixels.ndim - 2)), mode="edge")

    def weights(self, cell: int = 1) -> NDArray[np.float32]:
        """Return how much a tile counts at each of its cells of `cell` pixels, (tile_height, tile_width) / cell.

        Overlapping tiles are averaged by these, so that none ends at an edge.
        """
        rows, columns = hill(self.tile_height // cell), hill(self.tile_width // cell)
        return (rows[:, None] * columns).astype(np.float32)


def plan_canvas(card: ModelCard, width: int, height: int, *, tiled: bool) -> Canvas:
    """Return the canvas of a picture: in tiles of the model's native size, or in one piece.

    A side that is no multiple of the model's `size_multiple` is filled up to the next one.
    """
    full_width, full_height = _filled(width, card.size_multiple), _filled(height, card.size_multiple)
    tile_width = min(full_width, card.native_width) if tiled else full_width
    tile_height = min(full_height, card.native_height) if tiled else full_height
    return Canvas(
        picture_width=width,
        picture_height=height,
        width=full_width,
        height=full_height,
        tile_width=tile_width,
        tile_height=tile_height,
        lefts=starts(full_width, tile_width, card.size_multiple),
        tops=starts(full_height, tile_height, card.size_multiple),
    )


def count_tiles(card: ModelCard, width: int, height: int) -> int:
    """Return of how many tiles a picture of that size is made."""
    return len(plan_canvas(card, width, height, tiled=True).tiles)


def _filled(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def starts(side: int, tile: int, multiple: int = 1) -> tuple[int, ...]:
    """Return where tiles begin along a side: evenly, the first at 0, the last one ending at the border.

    All are multiples of `multiple`, if side and tile are; neighbours overlap by a quarter of a tile, less `multiple`.
    """
    overlap = OVERLAP * tile
    count = 1 if side <= tile else math.ceil((side - overlap) / (tile - overlap))
    gaps = max(1, count - 1)
    return tuple((side - tile) * number // gaps // multiple * multiple for number in range(count))


def hill(cells: int) -> NDArray[np.float64]:
    """Return sin² over so many cells: the weights of two tiles that overlap by half add up to 1."""
    weights = np.sin(np.pi * (np.arange(cells) + 0.5) / cells) ** 2
    return np.asarray(np.maximum(weights, _LEAST_WEIGHT), dtype=np.float64)
