"""YOLO, as Ultralytics reads it: `data.yaml`, `images/{split}/` and `labels/{split}/`, one line for an object.

A line is the class number and, in fractions of the picture's width and height, an upright box (x, y of its middle,
width, height), an outline, or the four corners of a rotated box. A picture without objects has an empty file.
Fidelity is the IoU of the label with the filled boxes or outlines, so for boxes it says how box-like objects are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from models.categories import CATEGORIES
from models.components import Component
from models.export.batches import in_batches
from models.export.outlines import one_outline, rotated_box
from models.export.reader import Regained, category_ids, whole_pictures
from models.export.writer import Item, Layout, Placed, place

Numbers = Callable[[Component, int, int], Iterable[float]]
Fill = Callable[[Any, tuple[int, int]], Iterator[NDArray[np.bool_]]]


class YoloWriter:
    """Writes a line of `numbers` for each part."""

    def __init__(self, layout: Layout, numbers: Numbers) -> None:
        self._folder = layout.folder
        self._numbers = numbers
        self._class_of = {number: position for position, number in enumerate(layout.classes)}
        content: dict[str, Any] = {split: f"images/{split}" for split in layout.splits}
        content["names"] = {at: CATEGORIES[number].name for number, at in self._class_of.items()}
        place(self._folder, "data.yaml", yaml.safe_dump(content, sort_keys=False).encode())

    def add(self, item: Item) -> Placed:
        sample = item.sample
        lines = [
            " ".join([str(self._class_of[part.category_id]), *(f"{number:.6f}" for number in numbers)])
            for part in item.parts
            for numbers in [self._numbers(part.component, sample.width, sample.height)]
        ]
        name = f"{sample.split}/{sample.stem}"
        return Placed(
            place(self._folder, f"images/{name}.png", item.picture),
            place(self._folder, f"labels/{name}.txt", "".join(f"{line}\n" for line in lines).encode()),
        )

    def close(self) -> None:
        """Nothing is open between items."""


def detect_writer(layout: Layout) -> YoloWriter:
    return YoloWriter(layout, _upright)


def segment_writer(layout: Layout) -> YoloWriter:
    return YoloWriter(layout, lambda part, width, height: _flat(one_outline(part), width, height))


def rotated_writer(layout: Layout) -> YoloWriter:
    return YoloWriter(
        layout, lambda part, width, height: _flat(rotated_box(part, width, height), width, height)
    )


def _upright(part: Component, width: int, height: int) -> Iterable[float]:
    return (
        (part.left + part.width / 2) / width,
        (part.top + part.height / 2) / height,
        part.width / width,
        part.height / height,
    )


def _flat(points: NDArray[np.float64], width: int, height: int) -> Sequence[float]:
    return [float(number) for number in (points / (width, height)).ravel()]


def read_boxes(folder: Path) -> Iterator[Regained]:
    """Yield every picture with its filled upright boxes."""
    return whole_pictures(_read(folder, _filled_boxes, is_obb=False))


def read_outlines(folder: Path) -> Iterator[Regained]:
    """Yield every picture with its filled outlines."""
    return whole_pictures(_read(folder, _filled_outlines, is_obb=False))


def read_rotated(folder: Path) -> Iterator[Regained]:
    """Yield every picture with its filled rotated boxes."""
    return whole_pictures(_read(folder, _filled_rotated, is_obb=True))


def _read(folder: Path, fill: Fill, *, is_obb: bool) -> Iterator[Regained]:
    """Yield pieces of pictures as supervision reads them: in batches, since it makes a mask for each outline."""
    import supervision

    content = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    names = content.pop("names")
    if list(names) != list(range(len(names))):
        raise ValueError("data.yaml does not number its classes from 0")
    for split, images in content.items():
        for batch in in_batches(_pictures(folder / images, folder / "labels" / split)):
            with tempfile.TemporaryDirectory() as scratch:
                for piece in batch:
                    (Path(scratch) / piece.key.name).symlink_to(piece.key.resolve())
                    (Path(scratch) / f"{piece.key.stem}.txt").write_text("".join(piece.rows))
                found = supervision.DetectionDataset.from_yolo(
                    scratch, scratch, str(folder / "data.yaml"), is_obb=is_obb
                )
                numbers = category_ids(found.classes)
                for name in sorted(found.annotations):
                    with Image.open(name) as picture:
                        width, height = picture.size
                    detections = found.annotations[name]
                    masks = fill(detections, (height, width)) if len(detections) else []
                    yield Regained(
                        split, Path(name).stem, len(detections), _united(detections, masks, numbers)
                    )


def _pictures(images: Path, labels: Path) -> Iterator[tuple[Path, int, list[str]]]:
    if sorted(path.stem for path in images.iterdir()) != sorted(path.stem for path in labels.iterdir()):
        raise ValueError(f"{images.name} has not one label file for each picture")
    for path in sorted(images.iterdir()):
        with Image.open(path) as picture:
            pixels = picture.width * picture.height
        yield path, pixels, (labels / f"{path.stem}.txt").read_text().splitlines(keepends=True)


def _united(
    detections: Any, masks: Iterable[NDArray[np.bool_]], numbers: Sequence[int]
) -> dict[int, NDArray[np.bool_]]:
    regions: dict[int, NDArray[np.bool_]] = {}
    for at, mask in zip(detections.class_id if len(detections) else (), masks, strict=True):
        number = numbers[int(at)]
        regions[number] = regions[number] | mask if number in regions else mask
    return regions


def _filled_outlines(detections: Any, shape: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    for mask in detections.mask:
        if mask.shape != shape:
            raise ValueError(f"an outline is filled in {mask.shape} and the picture is {shape}")
        yield mask


def _filled_boxes(detections: Any, shape: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    for left, top, right, bottom in np.rint(detections.xyxy).astype(int):
        mask = np.zeros(shape, np.bool_)
        mask[top:bottom, left:right] = True
        yield mask


def _filled_rotated(detections: Any, shape: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    """Yield the pixels whose middle lies in a rotated box."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    for corners in detections.data["xyxyxyxy"].astype(np.float64):
        ahead = np.roll(corners, -1, axis=0) - corners
        sides = np.stack(
            [dx * (y - cy) - dy * (x - cx) for (cx, cy), (dx, dy) in zip(corners, ahead, strict=True)]
        )
        inside: NDArray[np.bool_] = np.all(sides >= -1e-3, axis=0) | np.all(sides <= 1e-3, axis=0)
        yield inside
