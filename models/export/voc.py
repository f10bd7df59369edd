"""Pascal VOC: `JPEGImages/` (PNG files: pictures stay bit for bit), `Annotations/` and `ImageSets/Main/`.

Boxes count pixels from 1 and include both ends, as in the VOC development kit. Fidelity is the IoU of the label
with the filled boxes, so it says how box-like objects are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.categories import CATEGORIES
from models.export.parts import Part
from models.export.reader import Regained, category_ids
from models.export.writer import Item, Layout, Placed, place


class VocWriter:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        sets = layout.folder / "ImageSets" / "Main"
        sets.mkdir(parents=True)
        self._lists = {split: (sets / f"{split}.txt").open("w") for split in layout.splits}

    def add(self, item: Item) -> Placed:
        self._lists[item.sample.split].write(f"{item.sample.stem}\n")
        return Placed(
            place(self._layout.folder, f"JPEGImages/{item.sample.stem}.png", item.picture),
            place(self._layout.folder, f"Annotations/{item.sample.stem}.xml", self._described(item)),
        )

    def close(self) -> None:
        for file in self._lists.values():
            file.close()

    def _described(self, item: Item) -> bytes:
        root = ET.Element("annotation")
        _texts(root, {"folder": "JPEGImages", "filename": f"{item.sample.stem}.png"})
        _texts(ET.SubElement(root, "source"), {"database": "EarthSynth (synthetic)"})
        size = {"width": item.sample.width, "height": item.sample.height, "depth": 3}
        _texts(ET.SubElement(root, "size"), size)
        _texts(root, {"segmented": 0})
        for part in item.parts:
            _add_object(root, part)
        ET.indent(root)
        return (ET.tostring(root, encoding="unicode") + "\n").encode()


def _add_object(root: ET.Element, part: Part) -> None:
    found = ET.SubElement(root, "object")
    name = CATEGORIES[part.category_id].name
    _texts(found, {"name": name, "pose": "Unspecified", "truncated": 0, "difficult": 0})
    box = part.component
    corners = {
        "xmin": box.left + 1,
        "ymin": box.top + 1,
        "xmax": box.left + box.width,
        "ymax": box.top + box.height,
    }
    _texts(ET.SubElement(found, "bndbox"), corners)


def _texts(parent: ET.Element, texts: Mapping[str, object]) -> None:
    for tag, text in texts.items():
        ET.SubElement(parent, tag).text = str(text)


def read_with_supervision(folder: Path) -> Iterator[Regained]:
    """Yield every picture with its filled boxes."""
    import supervision

    found = supervision.DetectionDataset.from_pascal_voc(
        str(folder / "JPEGImages"), str(folder / "Annotations")
    )
    numbers = category_ids(found.classes)
    by_stem = {Path(name).stem: (name, detections) for name, detections in found.annotations.items()}
    if len(list((folder / "Annotations").glob("*.xml"))) != len(by_stem):
        raise ValueError("JPEGImages and Annotations do not hold the same names")
    for listed in sorted((folder / "ImageSets" / "Main").glob("*.txt")):
        for stem in listed.read_text().split():
            name, detections = by_stem[stem]
            with Image.open(name) as picture:
                regions: dict[int, NDArray[np.bool_]] = {}
                boxes = np.rint(detections.xyxy).astype(int)
                for at, (left, top, right, bottom) in zip(detections.class_id, boxes, strict=True):
                    region = regions.setdefault(numbers[int(at)], np.zeros(picture.size[::-1], np.bool_))
                    region[top:bottom, left:right] = True
            yield Regained(listed.stem, stem, len(detections), regions)
