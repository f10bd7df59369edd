"""COCO: `annotations/instances_{split}.json` and `images/{split}/`.

A component without holes is written as polygons along its pixels' edges, one with holes as run lengths in the
uncompressed form, iscrowd 0: pycocotools' `frPyObjects`, and so the COCO code of detectron2, mmdetection,
torchvision and transformers, takes it, the compressed form not always. Both give back the same pixels, so fidelity
is 1 but for components under `min_area`. Category ids are EarthSynth's own. Ignored pixels have no annotation.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES
from models.components import Component
from models.export.batches import Slice, in_batches
from models.export.parts import Part
from models.export.reader import Regained
from models.export.writer import Item, Layout, Placed, place
from models.polygons import outer_rings


class CocoWriter:
    """Writes pictures straight into the JSON, and annotations into a file beside it that `close` appends."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.folder
        self._classes = layout.classes
        self._splits = {split: _SplitFiles(layout, split) for split in layout.splits}
        self._annotations = 0

    def add(self, item: Item) -> Placed:
        sample = item.sample
        image_id = sample.index + 1  # 0 is no id for several trainers
        files = self._splits[sample.split]
        image = {"id": image_id, "file_name": f"{sample.stem}.png", "license": 1}
        files.images.append(image | {"width": sample.width, "height": sample.height})
        for part in item.parts:
            self._annotations += 1
            files.annotations.append(_annotation(part, self._annotations, image_id, item.label.shape))
        return Placed(
            place(self._folder, f"images/{sample.split}/{sample.stem}.png", item.picture),
            f"annotations/instances_{sample.split}.json",
        )

    def close(self) -> None:
        categories = [
            {"id": c.id, "name": c.name, "supercategory": "thing" if c.is_thing else "land cover"}
            for c in map(CATEGORIES.__getitem__, self._classes)
            if c.id != 0
        ]
        for files in self._splits.values():
            files.close(categories)


class _Array:
    """A JSON array that is written element by element, one on each line."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._separator = "\n"

    def append(self, element: dict[str, Any]) -> None:
        self._file.write(self._separator + json.dumps(element, separators=(",", ":")))
        self._separator = ",\n"


class _SplitFiles:
    """The JSON file of one split while it grows."""

    def __init__(self, layout: Layout, split: str) -> None:
        folder = layout.folder / "annotations"
        folder.mkdir(exist_ok=True)
        (layout.folder / "images" / split).mkdir(parents=True)
        info = {"description": layout.info.name, "date_created": layout.info.created_at}
        licence = {"id": 1, "name": layout.info.licence, "url": layout.info.licence}
        self._file = (folder / f"instances_{split}.json").open("w", encoding="utf-8")
        self._file.write(f'{{"info": {json.dumps(info)},\n"licenses": [{json.dumps(licence)}],\n"images": [')
        self._later = tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)  # noqa: SIM115, closed below
        self.images = _Array(self._file)
        self.annotations = _Array(self._later)

    def close(self, categories: list[dict[str, Any]]) -> None:
        with self._file, self._later:
            self._file.write('],\n"annotations": [')
            self._later.seek(0)
            shutil.copyfileobj(self._later, self._file)
            self._file.write(f'],\n"categories": {json.dumps(categories)}}}\n')


def _annotation(part: Part, number: int, image_id: int, shape: tuple[int, ...]) -> dict[str, Any]:
    component = part.component
    return {
        "id": number,
        "image_id": image_id,
        "category_id": part.category_id,
        "bbox": [component.left, component.top, component.width, component.height],
        "area": component.area,
        "segmentation": segmentation_of(component, shape),
        "iscrowd": 0,
    }


def segmentation_of(component: Component, shape: tuple[int, ...]) -> list[list[float]] | dict[str, Any]:
    """Return COCO polygons, or uncompressed run lengths where there are holes, in a picture of (H, W) `shape`."""
    if not _has_holes(component.mask):
        return [list(ring) for ring in outer_rings(component.mask, component.left, component.top)]
    whole = np.zeros(shape, np.bool_)
    rows = slice(component.top, component.top + component.height)
    columns = slice(component.left, component.left + component.width)
    whole[rows, columns] = component.mask
    return {"size": list(shape), "counts": _run_lengths(whole)}


def _has_holes(mask: NDArray[np.bool_]) -> bool:
    """Return whether background is shut in; across a corner there is no way out, as the component has one."""
    outside = np.pad(~mask, 1, constant_values=True)
    return int(cv2.connectedComponents(outside.view(np.uint8), connectivity=4)[0]) > 2


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Return COCO's counts: lengths of runs down the columns, beginning with background."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], *([[0]] if flat[0] else []), changes, [flat.size]])
    return [int(length) for length in np.diff(bounds)]


def read_with_pycocotools(folder: Path) -> Iterator[Regained]:
    """Yield every picture with the union of its segmentations for each category."""
    from pycocotools import mask as masks

    for path, coco in _open_all(folder):
        split = path.stem.removeprefix("instances_")
        for image_id, image in sorted(coco.imgs.items()):
            if not (folder / "images" / split / image["file_name"]).is_file():
                raise ValueError(f"{image['file_name']} is listed and not there")
            found = coco.imgToAnns[image_id]
            by_category: dict[int, list[Any]] = {}
            for annotation in found:
                by_category.setdefault(annotation["category_id"], []).append(coco.annToRLE(annotation))
            yield Regained(
                split,
                Path(image["file_name"]).stem,
                len(found),
                {number: masks.decode(masks.merge(rles)) == 1 for number, rles in by_category.items()},
            )


def _open_all(folder: Path) -> Iterator[tuple[Path, Any]]:
    from pycocotools.coco import COCO

    for path in sorted((folder / "annotations").glob("instances_*.json")):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints as it loads
            coco = COCO(str(path))
        yield path, coco


def read_with_supervision(folder: Path) -> Iterator[Regained]:
    """Yield every picture with the number of its annotations.

    supervision makes a mask for each annotation at once, so it is given the file's own records in batches.
    """
    import supervision

    for path in sorted((folder / "annotations").glob("instances_*.json")):
        split = path.stem.removeprefix("instances_")
        content = json.loads(path.read_text(encoding="utf-8"))
        rows: dict[int, list[Any]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            rows[annotation["image_id"]].append(annotation)
        pictures = (
            (image, image["width"] * image["height"], rows[image["id"]]) for image in content["images"]
        )
        counts: dict[str, int] = {}
        for batch in in_batches(pictures):
            with tempfile.TemporaryDirectory() as scratch:
                part = Path(scratch) / path.name
                part.write_text(json.dumps(content | _records(batch)), encoding="utf-8")
                found = supervision.DetectionDataset.from_coco(str(folder / "images" / split), str(part))
            for name, detections in found.annotations.items():
                stem = Path(name).stem
                counts[stem] = counts.get(stem, 0) + len(detections)
        for stem, count in counts.items():
            yield Regained(split, stem, count, None)


def _records(batch: list[Slice[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    return {
        "images": [piece.key for piece in batch],
        "annotations": [row for piece in batch for row in piece.rows],
    }
