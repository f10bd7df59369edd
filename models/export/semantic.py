"""Semantic segmentation: `images/`, `masks/` (the id as grey level) and `colors/` (the same as palette picture).

Trainers read `masks/`: every pixel is an EarthSynth id, 0 = anything, 255 = ignore. `colors/` is for people; its
palette indexes are the ids too. Where masks say where they lie, world files and GDAL's .aux.xml beside pictures and
masks say it on. Fidelity compares all ids, 0 and 255 included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE, IGNORE_COLOR
from models.export.georeferenced import files_beside
from models.export.reader import Regained, id_regions
from models.export.writer import Item, Layout, Placed, place
from models.masks import preview_png


class SemanticWriter:
    def __init__(self, layout: Layout) -> None:
        self._folder = layout.folder
        palette = {str(c.id): {"name": c.name, "color": c.color} for c in CATEGORIES}
        palette[str(IGNORE)] = {"name": "ignore", "color": IGNORE_COLOR}
        place(self._folder, "palette.json", (json.dumps(palette, indent=1) + "\n").encode())

    def add(self, item: Item) -> Placed:
        name = f"{item.sample.split}/{item.sample.stem}.png"
        place(self._folder, f"colors/{name}", preview_png(item.label))
        if item.sample.georeference is not None:
            for suffix, content in files_beside(item.sample.georeference).items():
                for kind in ("images", "masks"):
                    place(self._folder, f"{kind}/{name.removesuffix('.png')}{suffix}", content)
        return Placed(
            place(self._folder, f"images/{name}", item.picture),
            place(self._folder, f"masks/{name}", item.label_png),
        )

    def close(self) -> None:
        """Nothing is open between items."""


def read_with_pillow(folder: Path) -> Iterator[Regained]:
    """Yield every picture with the regions of its mask, as Pillow opens them."""
    from PIL import Image

    for path in sorted((folder / "images").glob("*/*.png")):
        with Image.open(path) as picture:
            picture.load()
        with Image.open(folder / "masks" / path.parent.name / path.name) as mask:
            ids = np.asarray(mask)
        yield _regained(path, picture.size, ids)


def read_with_opencv(folder: Path) -> Iterator[Regained]:
    """Yield every mask with its regions, and its picture, as OpenCV reads them."""
    import cv2

    for path in sorted((folder / "masks").glob("*/*.png")):
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        picture = cv2.imread(str(folder / "images" / path.parent.name / path.name))
        if ids is None or picture is None:
            raise ValueError(f"{path.name} or its picture is not a PNG")
        yield _regained(path, (picture.shape[1], picture.shape[0]), ids.astype(np.uint8))


def _regained(path: Path, size: tuple[int, int], ids: NDArray[np.uint8]) -> Regained:
    if ids.shape != size[::-1]:
        raise ValueError(f"the mask of {path.name} is {ids.shape} and its picture {size[::-1]}")
    return Regained(path.parent.name, path.stem, None, id_regions(ids))
