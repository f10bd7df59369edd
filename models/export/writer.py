"""What a format's writer is given, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.export.info import DatasetInfo
from models.export.options import ExportOptions
from models.export.parts import Part
from models.export.sample import ExportSample


@dataclass(frozen=True, slots=True)
class Layout:
    """Where and how to write. `classes` are the category ids in the order that numbered formats count them."""

    folder: Path
    options: ExportOptions
    info: DatasetInfo
    splits: Sequence[str]
    classes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Item:
    """One sample with its bytes: `picture` the PNG, `label` (H, W) ids, `label_png` the same as id PNG."""

    sample: ExportSample
    picture: bytes
    label: NDArray[np.uint8]
    label_png: bytes
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Placed:
    """Paths in the export of an item's picture and label; "shard.tar#member" inside an archive.

    Where pictures share a label file, or have none of their own, `label` is that file or "".
    """

    picture: str
    label: str


class Writer(Protocol):
    """Writes items one by one, in any order of splits; holds nothing of them in memory."""

    def add(self, item: Item) -> Placed: ...

    def close(self) -> None:
        """Finish the files; called also when the export has failed."""


def place(folder: Path, path: str, content: bytes) -> str:
    """Write `content` to `path` below `folder`, and return the path."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return path
