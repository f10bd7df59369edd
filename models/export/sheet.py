"""Contact sheets: a grid of small pictures, each beside itself under its label's colours."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.export.notice import picture_png
from models.overlay import draw_overlay

MOST = 48  # samples on a sheet
_CELL = 128  # pixels, the side of a small picture
_GAP = 6
_PAPER = (255, 255, 255)


class Sheet:
    """Keeps small pictures only: 100 kB for each sample."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Image.Image, Image.Image]] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, picture: bytes, label: NDArray[np.uint8]) -> None:
        """Add a sample: the PNG, and (H, W) ids of its size."""
        with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._pairs.append((_small(pixels), _small(draw_overlay(pixels, label))))

    def draw(self) -> NDArray[np.uint8]:
        """Return the sheet, (H, W, 3) uint8 RGB, wider than high; white where it is empty."""
        columns = max(1, min(6, math.ceil(math.sqrt(len(self._pairs) / 2))))
        rows = max(1, math.ceil(len(self._pairs) / columns))
        wide, high = 2 * _CELL + 2 + 2 * _GAP, _CELL + 2 * _GAP
        paper = Image.new("RGB", (columns * wide, rows * high), _PAPER)
        for at, (picture, overlay) in enumerate(self._pairs):
            row, column = divmod(at, columns)
            x, y = column * wide + _GAP, row * high + _GAP
            paper.paste(picture, (x, y))
            paper.paste(overlay, (x + _CELL + 2, y))
        return np.asarray(paper)

    def save(self, path: Path) -> None:
        """Write the sheet as a PNG that says it is synthetic."""
        path.write_bytes(picture_png(self.draw()))

    def jpeg(self) -> bytes:
        """Return the sheet as a JPEG, for pages that embed it."""
        buffer = io.BytesIO()
        Image.fromarray(self.draw()).save(buffer, "JPEG", quality=85)
        return buffer.getvalue()


def _small(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return the picture in a square cell, proportions kept."""
    image = Image.fromarray(pixels)
    image.thumbnail((_CELL, _CELL), Image.Resampling.LANCZOS, reducing_gap=None)
    cell = Image.new("RGB", (_CELL, _CELL), _PAPER)
    cell.paste(image, ((_CELL - image.width) // 2, (_CELL - image.height) // 2))
    return cell
