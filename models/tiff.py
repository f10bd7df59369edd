"""TIFF masks, read in a child process that can be killed.

TIFF readers are large, and mutated files made one hang; so files are decoded by `tiff_child.py` in a process
with limits on time and memory, whose death or silence is a refusal here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.child import ChildFailed, read_in_child
from models.errors import MaskRefused, UnsupportedFormat
from models.geokeys import read_georeference
from models.georeference import Georeference
from models.png import damaged, orientation_warning

_CHILD = Path(__file__).with_name("tiff_child.py")


@dataclass(frozen=True, slots=True)
class Tiff:
    """Stored samples (H, W) or (H, W, C) of whole numbers, whatever the file says about black and white.

    `palette` is (N, 3) uint8 for palette files; `nodata` is GDAL's, where the file declares one. `georeference` is
    where the pixels lie, where a GeoTIFF says it.
    """

    samples: NDArray[Any]
    palette: NDArray[np.uint8] | None
    nodata: int | None
    warnings: tuple[str, ...]
    georeference: Georeference | None = None


def read_tiff(data: bytes, *, min_side: int, max_side: int, timeout_seconds: float = 5.0) -> Tiff:
    """Decode a one-page TIFF of whole numbers.

    Raises:
        MaskRefused: damaged_file, too_many_pixels, mask_too_small, multi_page_not_supported, lossy_mask,
            not_a_label_mask.
        UnsupportedFormat: a lossless compression that is not read.
    """
    try:
        answer, body = read_in_child(_CHILD, data, min_side, max_side, seconds=timeout_seconds)
    except ChildFailed as failed:
        raise damaged(f"it {failed.reason}") from failed
    if "code" in answer:
        if answer["code"] == "unsupported_format":
            raise UnsupportedFormat(answer["message"])
        raise MaskRefused(answer["message"], code=answer["code"])
    samples = np.frombuffer(body, np.dtype(answer["dtype"])).reshape(answer["shape"])
    palette = np.array(answer["palette"], np.uint8).reshape(-1, 3) if answer["palette"] else None
    georeference, notes = read_georeference(answer["geo"], nodata=answer["nodata"])
    warnings = (*orientation_warning(answer["orientation"]), *notes)
    return Tiff(samples, palette, answer["nodata"], warnings, georeference)
