"""Given pictures: stored pixels bit for bit, or a refusal. Pillow and tifffile write the files, and read them too."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from models import init_image
from models.errors import EarthSynthError, InvalidInput, UnsupportedFormat
from models.init_image import decode_init_image, encode_init_image, read_init_image

RGB = np.random.default_rng(3).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def saved(pixels: NDArray[Any], format_name: str, mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, format_name, **options)
    return buffer.getvalue()


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def orientation_6() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(RGB, "JPEG", exif=exif)


GOOD = {
    "png": saved(RGB, "PNG"),
    "jpeg": saved(RGB, "JPEG", quality=90),
    "progressive": saved(RGB, "JPEG", progressive=True),
    "rotated": orientation_6(),
    "tiff": tiff(RGB, photometric="rgb"),
    "lzw": saved(RGB, "TIFF", compression="tiff_lzw"),
    "planes": tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"),
}


@pytest.mark.parametrize("name", GOOD)
def test_pixels_are_those_that_the_file_stores(name: str) -> None:
    found = read_init_image(GOOD[name], max_side=4096)
    with Image.open(io.BytesIO(GOOD[name])) as image:
        np.testing.assert_array_equal(found.pixels, RGB if name == "planes" else np.asarray(image))
    assert len(found.warnings) == (name == "rotated"), "pixels stay as stored, and that is said"


def test_the_stored_form_keeps_every_pixel_and_nothing_else() -> None:
    png = encode_init_image(RGB)
    np.testing.assert_array_equal(decode_init_image(png), RGB)
    assert png == encode_init_image(RGB.copy())
    with Image.open(io.BytesIO(png)) as image:
        assert image.info == {}


def bad_png(width: int, height: int) -> bytes:
    """A header that promises, and nothing behind it."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + ihdr + struct.pack(">I", zlib.crc32(b"IHDR" + ihdr))
    return b"\x89PNG\r\n\x1a\n" + chunk


GREY, DEEP = RGB[..., 0], RGB.astype(np.uint16) * 257
WITH_ALPHA = np.concatenate([RGB, RGB[..., :1]], axis=-1)
REFUSED: dict[str, tuple[bytes, type[EarthSynthError], str]] = {
    "empty": (b"", InvalidInput, "empty_file"),
    "grey PNG": (saved(GREY, "PNG"), InvalidInput, "not_an_rgb_picture"),
    "16-bit grey PNG": (saved(GREY.astype(np.uint16), "PNG"), InvalidInput, "not_an_rgb_picture"),
    "palette PNG": (saved(RGB, "PNG", "P"), InvalidInput, "not_an_rgb_picture"),
    "PNG with alpha": (saved(WITH_ALPHA, "PNG"), InvalidInput, "not_an_rgb_picture"),
    "grey JPEG": (saved(GREY, "JPEG"), InvalidInput, "not_an_rgb_picture"),
    "CMYK JPEG": (saved(RGB, "JPEG", "CMYK"), InvalidInput, "not_an_rgb_picture"),
    "16-bit TIFF": (tiff(DEEP, photometric="rgb"), InvalidInput, "not_an_rgb_picture"),
    "TIFF with alpha": (
        tiff(WITH_ALPHA, photometric="rgb", extrasamples=["unassalpha"]),
        InvalidInput,
        "not_an_rgb_picture",
    ),
    "grey TIFF": (tiff(GREY), InvalidInput, "not_an_rgb_picture"),
    "lossy TIFF": (saved(RGB, "TIFF", compression="jpeg"), UnsupportedFormat, "unsupported_format"),
    "two pages": (tiff(np.stack([RGB, RGB]), photometric="rgb"), InvalidInput, "multi_page_not_supported"),
    "two PNGs": (saved(RGB, "PNG") * 2, InvalidInput, "trailing_data"),
    "animation": (
        saved(RGB, "PNG", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())]),
        InvalidInput,
        "animated_not_supported",
    ),
    "cut PNG": (saved(RGB, "PNG")[:-500], InvalidInput, "damaged_file"),
    "cut JPEG": (saved(RGB, "JPEG")[:-500], InvalidInput, "damaged_file"),
    "JPEG of nothing": (b"\xff\xd8\xff" + bytes(100), InvalidInput, "damaged_file"),
    "cut TIFF": (tiff(RGB, photometric="rgb")[:-500], InvalidInput, "damaged_file"),
    "large PNG": (bad_png(50_000, 50_000), InvalidInput, "too_many_pixels"),
    "wide JPEG": (saved(np.zeros((8, 5000, 3), np.uint8), "JPEG"), InvalidInput, "too_many_pixels"),
    "wide TIFF": (tiff(np.zeros((8, 5000, 3), np.uint8), photometric="rgb"), InvalidInput, "too_many_pixels"),
    "GIF": (saved(GREY, "GIF"), UnsupportedFormat, "unsupported_format"),
    "WebP": (saved(RGB, "WEBP"), UnsupportedFormat, "unsupported_format"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedFormat, "unsupported_format"),
    "pickle": (b"\x80\x04K\x01.", UnsupportedFormat, "unsupported_format"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    data, kind, code = REFUSED[name]
    with pytest.raises(kind) as caught:
        read_init_image(data, max_side=4096)
    assert caught.value.code == code
    assert "init_image" in caught.value.message
    assert "mask as" not in caught.value.message


def scans(data: bytes, times: int) -> bytes:
    """A progressive JPEG whose last scan is there so many times: each is worked through, and adds nothing."""
    start = data.rfind(b"\xff\xda")
    return data[:start] + data[start:-2] * times + data[-2:]


def test_a_jpeg_that_keeps_a_decoder_busy_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_image, "_JPEG_SECONDS", 1.0)
    black = saved(np.zeros((4096, 4096, 3), np.uint8), "JPEG", progressive=True)
    began = time.monotonic()
    with pytest.raises(InvalidInput) as caught:
        read_init_image(scans(black, 3000), max_side=4096)
    assert caught.value.code == "damaged_file"
    assert "within" in caught.value.message
    assert time.monotonic() - began < 60, "killed, not waited for"


def test_mutated_files_are_read_or_refused() -> None:
    random = np.random.default_rng(11)
    for name in ("png", "jpeg", "tiff"):
        for _ in range(20 if name == "png" else 4):  # the others each start a process
            data = bytearray(GOOD[name])
            for place in random.integers(0, len(data), 8):
                data[place] = random.integers(0, 256)
            try:
                found = read_init_image(bytes(data), max_side=4096)
            except (InvalidInput, UnsupportedFormat):
                continue
            assert found.pixels.ndim == 3
