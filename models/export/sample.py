"""One finished picture as an export takes it: the bytes are read only when they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.georeference import Georeference


@dataclass(frozen=True, slots=True)
class ExportSample:
    """An accepted sample.

    `index` is unique in the data set and names the files. `read_image` returns the stored PNG, bit for bit;
    `read_label` (H, W) uint8 category ids with 255 = ignore, `read_instances` (H, W) uint32 what tells objects apart,
    None where nothing does. `provenance` is JSON-able and becomes the sample's line of manifest.jsonl.
    """

    index: int
    group: str
    split: str
    mask_id: str
    prompt: str
    seed: int
    width: int
    height: int
    image_sha256: str
    read_image: Callable[[], bytes]
    read_label: Callable[[], NDArray[np.uint8]]
    provenance: Mapping[str, Any]
    georeference: Georeference | None = None
    read_instances: Callable[[], NDArray[np.uint32] | None] = lambda: None

    @property
    def stem(self) -> str:
        """The name of this sample's files, without suffix."""
        return f"{self.index:06d}"
