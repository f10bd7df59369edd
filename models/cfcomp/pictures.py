"""A training picture's bytes as RGB, or a refusal: nothing is trained on half a picture."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.errors import InvalidInput, MaskRefused, TooLarge, UnsupportedFormat
from models.file_formats import describe
from models.png import read_png

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"})
_MODES = {"L", "RGB"}  # 8 bits a channel, without transparency


def read_picture(data: bytes, check_size: Callable[[int, int], None]) -> NDArray[np.uint8]:
    """Return a PNG, JPEG, TIFF or WebP picture as (H, W, 3) uint8 RGB; grey is copied to the three channels.

    `check_size(width, height)` is called with what the header says before pixels are read, and may raise. Orientation
    in EXIF is not applied, as it is not to masks. Opaque transparency is dropped.

    Raises:
        InvalidInput: damaged_file, and for PNG what `read_png` says.
        UnsupportedFormat: another format, more than 8 bits a channel, or transparent pixels.
        TooLarge: more pixels than Pillow opens at all.
    """
    if data.startswith(b"\x89PNG"):
        return _read_png(data, check_size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("JPEG", "TIFF", "WEBP"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge("The picture has too many pixels; cut it into tiles.") from error
    except UnidentifiedImageError as error:
        raise UnsupportedFormat(
            f"The picture {describe(data)} or is damaged; send PNG, JPEG, TIFF or WebP."
        ) from error
    with image:
        check_size(image.width, image.height)
        if image.mode not in _MODES and image.mode != "RGBA":
            raise UnsupportedFormat(
                f"The picture's pixels are of kind {image.mode}; send 8-bit grey or RGB channels."
            )
        try:
            return _rgb(np.asarray(image))
        except (OSError, SyntaxError, ValueError, struct.error) as error:
            raise InvalidInput(
                "The picture is damaged: its pixels cannot be read to the end. Export it again.",
                code="damaged_file",
            ) from error


def _read_png(data: bytes, check_size: Callable[[int, int], None]) -> NDArray[np.uint8]:
    try:
        png = read_png(data, check_size)
    except MaskRefused as error:
        raise InvalidInput(
            "The picture's PNG is damaged, animated or deeper than 8 bits a channel; export it again as plain RGB.",
            code=error.code,
        ) from error
    if png.palette is not None:
        return _rgb(png.palette[png.samples])
    if data[24] < 8:  # the header's bit depth
        raise UnsupportedFormat(f"The picture has {data[24]} bits a pixel; save it with 8 bits a channel.")
    return _rgb(png.samples)


def _rgb(samples: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return (H, W) or (H, W, C) samples as (H, W, 3), C being 2 (grey, alpha), 3 or 4 (RGB, alpha)."""
    if samples.dtype != np.uint8:
        raise UnsupportedFormat("The picture has 16 bits a channel; scale it to 8.")
    if samples.ndim == 2:
        samples = samples[:, :, None]
    channels = samples.shape[2]
    if channels in {2, 4}:
        if samples[:, :, -1].min() < 255:
            raise UnsupportedFormat("The picture has transparent pixels; save it without transparency.")
        channels -= 1
    colors = samples[:, :, :channels]
    return np.ascontiguousarray(np.broadcast_to(colors, (*colors.shape[:2], 3)), np.uint8)
