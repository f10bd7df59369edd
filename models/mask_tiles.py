"""A large mask as tiles of one size that cover it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.errors import MaskRefused


def tile_starts(side: int, tile: int) -> list[int]:
    """Return where tiles begin along a side: edge to edge, the last one ending at the border (it may overlap)."""
    return [*range(0, side - tile, tile), side - tile]


def cut_tiles(ids: NDArray[np.uint8], tile: int) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Yield (left, top, ids) of tiles of `tile` by `tile` pixels, row by row; every pixel is in at least one.

    Raises:
        MaskRefused: code "wrong_size", for a mask smaller than a tile.
    """
    height, width = ids.shape
    if min(height, width) < tile:
        raise MaskRefused(
            f"The mask is {width}x{height} pixels, smaller than tile_size={tile}; send a smaller tile_size.",
            code="wrong_size",
        )
    for top in tile_starts(height, tile):
        for left in tile_starts(width, tile):
            yield left, top, ids[top : top + tile, left : left + tile]
