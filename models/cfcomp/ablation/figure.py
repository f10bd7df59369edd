"""One picture to look at: masks, the real pictures, and what each arm makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.categories import CATEGORIES
from models.nano.tiles import class_entropy

_CELL = 128  # pixels
_GAP, _HEADER = 4, 20
_ROWS = 6


def varied_scenes(masks: NDArray[np.uint8], groups: Sequence[str], count: int) -> list[int]:
    """Return the places of up to `count` masks (N, H, W) with many classes, at most one of each tile, ascending."""
    best: dict[str, int] = {}
    for place, group in enumerate(groups):
        if group not in best or class_entropy(masks[place]) > class_entropy(masks[best[group]]):
            best[group] = place
    return sorted(sorted(best.values(), key=lambda place: -class_entropy(masks[place]))[:count])


def draw_figure(
    masks: NDArray[np.uint8], groups: Sequence[str], columns: Mapping[str, NDArray[np.uint8]]
) -> Image.Image:
    """Return a sheet in 256 colours: a few of the masks (N, H, W), and beside each what every column has there.

    Columns are pictures (N, H, W, 3), in the order of the masks.
    """
    palette = np.array([category.color for category in CATEGORIES], dtype=np.uint8)
    chosen = varied_scenes(masks, groups, _ROWS)
    side = _CELL + _GAP
    paper = Image.new("RGB", ((len(columns) + 1) * side + _GAP, _HEADER + len(chosen) * side), "white")
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(13)
    for column, name in enumerate(["mask", *columns]):
        draw.text((_GAP + column * side, 2), name, fill="black", font=font)
        for row, place in enumerate(chosen):
            is_mask = column == 0
            shown = palette[masks[place]] if is_mask else columns[name][place]
            how = cv2.INTER_NEAREST if is_mask else cv2.INTER_AREA
            cell = Image.fromarray(cv2.resize(shown, (_CELL, _CELL), interpolation=how).astype(np.uint8))
            paper.paste(cell, (_GAP + column * side, _HEADER + row * side))
    return paper.quantize(256)
