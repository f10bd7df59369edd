"""A mask file's stored samples, by content and never by name; foreign formats are named and not opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import MaskRefused, UnsupportedFormat
from models.file_formats import describe
from models.georeference import Georeference
from models.npy import MAGIC as NPY_MAGIC
from models.npy import read_npy
from models.png import read_png
from models.tiff import read_tiff


class MaskFormat(StrEnum):
    PNG = "png"
    TIFF = "tiff"  # GeoTIFF and BigTIFF too
    NPY = "npy"


_STARTS: Mapping[MaskFormat, tuple[bytes, ...]] = {
    MaskFormat.PNG: (b"\x89PNG",),
    MaskFormat.TIFF: (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    MaskFormat.NPY: (NPY_MAGIC,),
}


class SampleKind(StrEnum):
    GREY = "grey"  # one whole number per pixel
    PALETTE = "palette"  # one index per pixel, and colours for the indexes
    RGB = "rgb"  # three 8-bit channels


@dataclass(frozen=True, slots=True)
class MaskFile:
    """What a file stores, untouched: `samples` is (H, W) of whole numbers, or (H, W, 3) uint8 for RGB.

    `palette` is (N, 3) uint8 for kind PALETTE. `nodata` is the value that the file itself declares as
    "no data" (GeoTIFF), where it does, and `georeference` where it lies.
    """

    kind: SampleKind
    samples: NDArray[Any]
    palette: NDArray[np.uint8] | None
    nodata: int | None
    warnings: tuple[str, ...]
    georeference: Georeference | None = None


def read_mask_file(data: bytes, *, max_side: int, min_side: int) -> MaskFile:
    """Read a PNG, TIFF or NPY file.

    Raises:
        UnsupportedFormat: the content is of another format; the sentence names it.
        MaskRefused: damaged_file, empty_file, too_many_pixels, mask_too_small, not_a_label_mask, … as the
            readers of the three formats say.
    """

    def check_size(width: int, height: int) -> None:
        if width > max_side or height > max_side:
            raise MaskRefused(
                f"The mask is {width}x{height} pixels of at most {max_side}x{max_side}: cut it into tiles.",
                code="too_many_pixels",
            )
        if width < min_side or height < min_side:
            raise MaskRefused(
                f"The mask is {width}x{height} pixels; at least {min_side}x{min_side} are needed.",
                code="mask_too_small",
            )

    if not data:
        raise MaskRefused("The file is empty; send a PNG, TIFF or NPY file.", code="empty_file")
    found = next((name for name, starts in _STARTS.items() if data.startswith(starts)), None)
    if found is MaskFormat.PNG:
        png = read_png(data, check_size)
        return _file(png.samples, png.palette, None, png.warnings)
    if found is MaskFormat.TIFF:
        tiff = read_tiff(data, min_side=min_side, max_side=max_side)
        file = _file(tiff.samples, tiff.palette, tiff.nodata, tiff.warnings)
        return replace(file, georeference=tiff.georeference)
    if found is MaskFormat.NPY:
        return _file(read_npy(data, check_size), None, None, ())
    raise UnsupportedFormat(f"The file {describe(data)}; send the mask as PNG, TIFF or NPY.")


def _file(
    samples: NDArray[Any], palette: NDArray[np.uint8] | None, nodata: int | None, warnings: tuple[str, ...]
) -> MaskFile:
    if samples.ndim == 3 and samples.shape[2] in {2, 4}:
        alpha = samples[:, :, -1]
        if alpha.min() < 255:
            y, x = np.argwhere(alpha < 255)[0]
            raise MaskRefused(
                f"Pixel ({x}, {y}) is transparent (alpha {alpha[y, x]}), which means nothing in a mask; "
                "save it without transparency.",
                code="not_a_label_mask",
            )
        samples = samples[:, :, 0] if samples.shape[2] == 2 else samples[:, :, :3]
        warnings = (*warnings, "alpha_dropped: the transparency channel is opaque everywhere and was dropped")
    kind = SampleKind.RGB if samples.ndim == 3 else SampleKind.GREY
    if palette is not None:
        kind = SampleKind.PALETTE
    return MaskFile(kind, samples, palette, nodata, warnings)
