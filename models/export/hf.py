"""Hugging Face `datasets`: in each split `images/`, `masks/` (the id as grey level) and `metadata.jsonl`.

`load_dataset(folder)` gives the columns image, mask and the sample's own. Fidelity compares all ids, 0 and 255
included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.categories import CATEGORIES, IGNORE
from models.export.huggingface import load_rows
from models.export.reader import Regained, id_regions
from models.export.writer import Item, Layout, Placed, place
from models.pixel_values import unique_values


class HfWriter:
    def __init__(self, layout: Layout) -> None:
        self._folder = layout.folder
        self._lines = {}
        for split in layout.splits:
            (layout.folder / split).mkdir()
            self._lines[split] = (layout.folder / split / "metadata.jsonl").open("w", encoding="utf-8")

    def add(self, item: Item) -> Placed:
        sample = item.sample
        present = [CATEGORIES[n].name for n in unique_values(item.label) if n not in {0, IGNORE}]
        row = {
            "file_name": f"images/{sample.stem}.png",
            "mask_file_name": f"masks/{sample.stem}.png",
            "index": sample.index,
            "group": sample.group,
            "prompt": sample.prompt,
            "seed": sample.seed,
            "categories": ", ".join(present),  # a text: a list that is empty in a whole split has no type
            "annotations": len(item.parts),
        }
        self._lines[sample.split].write(json.dumps(row) + "\n")
        return Placed(
            place(self._folder, f"{sample.split}/images/{sample.stem}.png", item.picture),
            place(self._folder, f"{sample.split}/masks/{sample.stem}.png", item.label_png),
        )

    def close(self) -> None:
        for lines in self._lines.values():
            lines.close()


def read_with_datasets(folder: Path) -> Iterator[Regained]:
    """Yield every row with the regions of its mask."""
    for split, row, _ in load_rows(folder):
        row["image"].load()
        ids = np.asarray(row["mask"])
        if ids.shape != row["image"].size[::-1] or ids.dtype != np.uint8:
            raise ValueError(f"row {row['index']} has a mask that is not its picture's")
        yield Regained(split, f"{row['index']:06d}", row["annotations"], id_regions(ids))
