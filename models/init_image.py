"""A given picture, of which a part is to stay: 8-bit RGB, bit for bit as its file stores it, or refused."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.child import ChildFailed, read_in_child
from models.errors import InvalidInput, MaskRefused, UnsupportedFormat
from models.file_formats import describe
from models.png import orientation_warning, read_png
from models.tiff import read_tiff

_TIFF_STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_JPEG_CHILD = Path(__file__).with_name("jpeg_child.py")
_JPEG_SECONDS = 10.0
_RGB = "8-bit RGB without transparency"

# What the readers of masks refuse, in the words of a picture: its code there → the code and the sentence here.
_REFUSED = {
    "animated_not_supported": ("animated_not_supported", "is an animation; send one still picture."),
    "trailing_data": ("trailing_data", "is followed by a second one in its file; send one picture."),
    "multi_page_not_supported": (
        "multi_page_not_supported",
        "is a TIFF of several pages (overviews count); save one page without overviews.",
    ),
    "not_a_label_mask": ("not_an_rgb_picture", f"is not {_RGB}; save it so."),
}


@dataclass(frozen=True, slots=True)
class InitImage:
    """`pixels` (H, W, 3) uint8 RGB as stored: neither rotated nor brought to another colour space."""

    pixels: NDArray[np.uint8]
    warnings: tuple[str, ...]


def read_init_image(data: bytes, *, max_side: int) -> InitImage:
    """Return a PNG, JPEG or TIFF picture.

    Raises:
        InvalidInput: empty_file, damaged_file, too_many_pixels, not_an_rgb_picture (grey, palette, alpha, CMYK or
            16 bits), animated_not_supported, multi_page_not_supported, trailing_data.
        UnsupportedFormat: another format, or a TIFF whose pixels are compressed with loss.
    """
    if not data:
        raise InvalidInput("The init_image is empty; send a PNG, JPEG or TIFF picture.", code="empty_file")

    def check_size(width: int, height: int) -> None:
        if max(width, height) > max_side:
            raise _too_large(width, height, max_side)

    try:
        if data.startswith(b"\x89PNG"):
            png = read_png(data, check_size)
            samples, palette, warnings = png.samples, png.palette, png.warnings
        elif data.startswith(_TIFF_STARTS):
            tiff = read_tiff(data, min_side=1, max_side=max_side)
            samples, palette, warnings = tiff.samples, tiff.palette, tiff.warnings
        elif data.startswith(b"\xff\xd8\xff"):
            return _read_jpeg(data, max_side)
        else:
            raise UnsupportedFormat(f"The init_image {describe(data)}; send it as PNG, JPEG or TIFF.")
    except MaskRefused as refused:
        raise _in_words_of_pictures(refused, max_side) from refused
    if palette is not None or samples.ndim != 3 or samples.shape[2] != 3 or samples.dtype != np.uint8:
        kind = "palette" if palette is not None else f"{samples.shape[2] if samples.ndim == 3 else 1}-channel"
        raise InvalidInput(
            f"The init_image is a {samples.dtype.itemsize * 8}-bit {kind} picture; save it as {_RGB}.",
            code="not_an_rgb_picture",
        )
    return InitImage(np.ascontiguousarray(samples, np.uint8), warnings)


def encode_init_image(pixels: NDArray[np.uint8]) -> bytes:
    """Return the stored form of (H, W, 3) uint8 RGB: a PNG without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def decode_init_image(png: bytes) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of the stored form."""
    return read_init_image(png, max_side=2**31).pixels


def _read_jpeg(data: bytes, max_side: int) -> InitImage:
    try:
        answer, body = read_in_child(_JPEG_CHILD, data, max_side, seconds=_JPEG_SECONDS)
    except ChildFailed as failed:
        raise _damaged(failed.reason) from failed
    if "damaged" in answer:
        raise _damaged("is damaged: its pixels cannot be read to the end")
    width, height = answer["size"]
    if max(width, height) > max_side:
        raise _too_large(width, height, max_side)
    if answer["mode"] != "RGB":
        raise InvalidInput(
            f"The init_image is a JPEG of kind {answer['mode']}; save it as {_RGB}.",
            code="not_an_rgb_picture",
        )
    pixels = np.frombuffer(body, np.uint8).reshape(height, width, 3)
    return InitImage(pixels, tuple(orientation_warning(answer["orientation"])))


def _damaged(reason: str) -> InvalidInput:
    return InvalidInput(f"The init_image {reason}. Export it again.", code="damaged_file")


def _too_large(width: int, height: int, max_side: int) -> InvalidInput:
    return InvalidInput(
        f"The init_image is {width}x{height} pixels of at most {max_side}x{max_side}; cut it, and its mask.",
        code="too_many_pixels",
    )


def _in_words_of_pictures(refused: MaskRefused, max_side: int) -> InvalidInput | UnsupportedFormat:
    """Return the refusal of a mask's file as that of a picture's."""
    if refused.code == "lossy_mask":
        return UnsupportedFormat(
            "The init_image is a TIFF compressed with loss; save it with deflate or LZW, or as PNG or JPEG."
        )
    if refused.code == "too_many_pixels":
        sides = f"{max_side}x{max_side}"
        return InvalidInput(
            f"The init_image is larger than {sides} pixels; cut it, and its mask.", code=refused.code
        )
    if refused.code in _REFUSED:
        code, sentence = _REFUSED[refused.code]
        return InvalidInput(f"The init_image {sentence}", code=code)
    return InvalidInput(
        refused.message.replace("Export the mask", "Export the init_image"), code=refused.code
    )
