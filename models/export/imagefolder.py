"""Image folder: `{split}/{class}/`, as torchvision's ImageFolder and Hugging Face `datasets` read it.

A picture's class is the one that covers most of it, background and ignore left out, the lower id where two are
equal; "background" where there is no other. All its classes are in manifest.jsonl (`categories`). Fidelity takes
the folder at its word, as if the whole picture were of its class, so it is that class's share of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.categories import CATEGORIES
from models.export.huggingface import load_rows
from models.export.reader import Regained, category_ids
from models.export.survey import main_category
from models.export.writer import Item, Layout, Placed, place


class ImageFolderWriter:
    def __init__(self, layout: Layout) -> None:
        self._folder = layout.folder

    def add(self, item: Item) -> Placed:
        name = CATEGORIES[main_category(item.label)].name
        path = f"{item.sample.split}/{name}/{item.sample.stem}.png"
        return Placed(place(self._folder, path, item.picture), "")

    def close(self) -> None:
        """Nothing is open between items."""


def read_with_datasets(folder: Path) -> Iterator[Regained]:
    """Yield every picture, all of it of its folder's class."""
    for split, row, features in load_rows(folder):
        (number,) = category_ids([features["label"].int2str(row["label"])])
        picture = row["image"]
        picture.load()
        regions = {number: np.ones(picture.size[::-1], np.bool_)} if number else {}
        yield Regained(split, Path(picture.filename).stem, None, regions)
