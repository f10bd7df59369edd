"""Labels on disk while an export is made, so that readers' answers can be compared in any order."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class LabelSpool:
    """Id PNGs by sample index in a folder that the caller owns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, index: int, label_png: bytes) -> None:
        """Keep the label of a sample.

        Raises:
            FileExistsError: there is one for that index.
        """
        with self._path(index).open("xb") as file:
            file.write(label_png)

    def png(self, index: int) -> bytes:
        return self._path(index).read_bytes()

    def ids(self, index: int) -> NDArray[np.uint8]:
        """Return the label (H, W)."""
        with Image.open(io.BytesIO(self.png(index)), formats=["PNG"]) as image:
            return np.asarray(image)

    def _path(self, index: int) -> Path:
        return self._folder / f"{index}.png"
