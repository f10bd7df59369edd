"""Square crops of real tiles: what is trained on, the small share of it, and that none of it is tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.categories import IGNORE
from models.nano.tiles import Tile


@dataclass(frozen=True, slots=True)
class Crops:
    """Pictures (N, S, S, 3) uint8 RGB, labels (N, S, S) uint8 ids, and the tile each of the N is from."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """One hex SHA-256 over pictures and labels."""
        digest = hashlib.sha256(str(self.labels.shape).encode())
        digest.update(self.images.tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> Crops:
        """Return the crops at these places, in this order."""
        chosen = np.asarray(places, dtype=np.int64)
        return Crops(self.images[chosen], self.labels[chosen], tuple(self.groups[k] for k in chosen))


def cut_crops(tiles: Sequence[Tile], side: int) -> Crops:
    """Cut tiles into whole squares of `side` pixels without overlap; what is left at the edges is not used.

    Raises:
        ValueError: if no tile is as large as one square.
    """
    images, labels, groups = [], [], []
    for tile in tiles:
        for row in range(0, tile.mask.shape[0] - side + 1, side):
            for column in range(0, tile.mask.shape[1] - side + 1, side):
                images.append(tile.image[row : row + side, column : column + side])
                labels.append(tile.mask[row : row + side, column : column + side])
                groups.append(tile.name)
    if not images:
        raise ValueError(f"no tile is as large as {side} x {side} pixels")
    return Crops(np.stack(images), np.stack(labels), tuple(groups))


def draw_share(crops: Crops, share: float, seed: int) -> Crops:
    """Return `share` of the crops, at least two, drawn at random without repetition."""
    count = max(2, round(share * len(crops)))
    places = np.random.default_rng([seed, 10]).choice(len(crops), size=count, replace=False)
    return crops.take(np.sort(places))


def categories_in(labels: NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the category ids that occur, ascending, "anything" (0) and "ignore" (255) left out."""
    counts = np.bincount(labels.ravel(), minlength=256)
    return tuple(int(k) for k in np.flatnonzero(counts) if k not in (0, IGNORE))


def check_disjoint(train: Sequence[Tile], test: Sequence[Tile]) -> None:
    """Refuse a split in which a tile is trained on and tested on, by its name or by its pixels.

    Raises:
        ValueError: names the tiles.
    """
    names = {tile.name for tile in train}
    pixels = {_digest(tile) for tile in train}
    shared = [tile.name for tile in test if tile.name in names or _digest(tile) in pixels]
    if shared:
        raise ValueError(f"these tiles are in train and in val: {', '.join(shared[:5])}")


def _digest(tile: Tile) -> str:
    return hashlib.sha256(tile.image.tobytes()).hexdigest()
