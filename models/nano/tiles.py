"""Training tiles: pictures with id masks, cut at random places in random orientation and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ORIENTATIONS = 8  # four quarter turns, each also mirrored


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture (H, W, 3) uint8 RGB and its mask (H, W) uint8 of EarthSynth ids."""

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def load_tiles(folder: Path) -> list[Tile]:
    """Read `images/*.jpg|png` with the mask of the same stem in `masks/`; sorted by name.

    Raises:
        FileNotFoundError: if there is no picture, or one has no mask.
    """
    tiles = []
    for path in sorted(p for p in (folder / "images").glob("*") if p.suffix in {".jpg", ".png"}):
        mask = cv2.imread(str(folder / "masks" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if mask is None or image is None:
            raise FileNotFoundError(f"{path} or its mask cannot be read")
        tiles.append(Tile(path.stem, image.astype(np.uint8), mask.astype(np.uint8)))
    if not tiles:
        raise FileNotFoundError(f"no pictures in {folder / 'images'}")
    return tiles


def orient(array: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return one of the eight flips and quarter turns of (H, W) or (H, W, C)."""
    turned = np.rot90(array, orientation % 4)
    return np.ascontiguousarray(turned[:, ::-1] if orientation >= 4 else turned)


def to_signal(images: NDArray[np.uint8]) -> Tensor:
    """Return pictures (…, H, W, 3) uint8 as (…, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(images).movedim(-1, -3).float() / 127.5 - 1


def class_entropy(mask: NDArray[np.uint8]) -> float:
    """Return the entropy of the mask's class shares, in nats."""
    shares = np.bincount(mask.ravel()) / mask.size
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())


def interesting_origin(mask: NDArray[np.uint8], rng: np.random.Generator, *, size: int) -> tuple[int, int]:
    """Return the upper left pixel (row, column) of a crop of `size` pixels; plain sand is drawn less often.

    Of three random crops one is kept, with probability in proportion to 0.1 + its class entropy.
    """
    rows, columns = (rng.integers(0, side - size + 1, size=3) for side in mask.shape)
    weights = [
        0.1 + class_entropy(mask[r : r + size : 4, c : c + size : 4])
        for r, c in zip(rows, columns, strict=True)
    ]
    kept = int(rng.choice(3, p=np.array(weights) / sum(weights)))
    return int(rows[kept]), int(columns[kept])


def draw_crops(
    tiles: Sequence[Tile], rng: np.random.Generator, *, count: int, size: int, largest_zoom_out: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw square crops in random orientation, tiles in proportion to their area.

    Half of the crops show `size` pixels as they are; the others show up to `largest_zoom_out` times as much ground
    (pictures reduced by area, masks by nearest). Tiles smaller than `size` are left out.

    Returns pictures (count, size, size, 3) and masks (count, size, size), uint8.
    """
    areas = np.array([t.mask.size if min(t.mask.shape) >= size else 0 for t in tiles], dtype=np.float64)
    images, masks = [], []
    for index in rng.choice(len(tiles), size=count, p=areas / areas.sum()):
        tile = tiles[int(index)]
        zoom = float(rng.uniform(1.0, largest_zoom_out)) if rng.random() < 0.5 else 1.0
        side = min(round(size * zoom), *tile.mask.shape)
        row, column = interesting_origin(tile.mask, rng, size=side)
        image = tile.image[row : row + side, column : column + side]
        mask = tile.mask[row : row + side, column : column + side]
        if side != size:
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)
            mask = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        orientation = int(rng.integers(ORIENTATIONS))
        images.append(orient(image, orientation))
        masks.append(orient(mask, orientation))
    return np.stack(images), np.stack(masks)
