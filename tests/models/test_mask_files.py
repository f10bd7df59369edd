"""Files that are no masks, by content. Test ids start with the row of the catalogue of hostile inputs."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from models.errors import MaskRefused, UnsupportedFormat
from models.masks import decode_mask
from models.png import SIGNATURE, write_png

IDS = (np.arange(32 * 32).reshape(32, 32) % 20).astype(np.uint8)
PICTURE = Image.fromarray(np.repeat(IDS[:, :, None], 3, axis=2))


def by_pillow(form: str) -> bytes:
    out = io.BytesIO()
    PICTURE.save(out, form)
    return out.getvalue()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("mask.png", write_png(IDS))
    return out.getvalue()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, IDS)
    return out.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>"""
FOREIGN: list[tuple[str, bytes, str]] = [
    ("m50-gif", by_pillow("GIF"), "is a GIF"),
    ("m50-jpeg", by_pillow("JPEG"), "is a JPEG"),
    ("m50-webp", by_pillow("WEBP"), "is a WebP"),
    ("m50-avif", b"\0\0\0\x20ftypavif" + bytes(50), "is an AVIF"),
    ("m50-heic", b"\0\0\0\x18ftypheic" + bytes(50), "is a HEIC"),
    ("m50-bmp", by_pillow("BMP"), "is a BMP"),
    ("m50-psd", b"8BPS\0\x01" + bytes(50), "PSD"),
    ("m50-dds", by_pillow("DDS"), "is a DDS"),
    ("m50-icns", b"icns\0\0\0\x08", "is an ICNS"),
    ("m50-fits", b"SIMPLE  =                    T", "is a FITS"),
    ("m50-eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
    ("m50-pdf", by_pillow("PDF"), "is a PDF"),
    ("m50-ppm", by_pillow("PPM"), "PPM"),
    ("m51-jpeg-2000", by_pillow("JPEG2000"), "is a JPEG 2000"),
    ("m52-svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG"),
    ("m52-svg-with-entity", SVG, "is an SVG"),
    ("m53-text", b"hello there\n", "is text"),
    ("m53-text-cut-in-a-letter", "ü".encode() * 1000, "is text"),
    ("m53-html", b"\n<!DOCTYPE html><html><body>404</body></html>", "is an HTML page"),
    ("m53-html-with-svg", b"<html><svg></svg></html>", "is an HTML page"),
    ("m53-lfs-pointer", LFS, "looks like a Git LFS pointer"),
    ("m53-ds-store", b"\0\0\0\x01Bud1" + bytes(30), ".DS_Store"),
    ("m53-json", json.dumps({"polygons": []}).encode(), "is JSON"),
    ("m84-npz", npz(), "zip (or NPZ)"),
    ("m84-zip", archive(), "is a zip"),
    ("m84-gzip-of-npy", gzip.compress(b"\x93NUMPY"), "is gzip"),
    ("m84-hdf5", b"\x89HDF\r\n\x1a\n" + bytes(50), "is an HDF5"),
    ("noise", bytes(range(255, 0, -1)), "no format that is known"),
    ("one-byte", b"\0", "no format that is known"),
]


@pytest.mark.parametrize(("data", "words"), [row[1:] for row in FOREIGN], ids=[row[0] for row in FOREIGN])
def test_foreign_formats_are_named(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedFormat) as refused:
        decode_mask(data)
    assert refused.value.code == "unsupported_format"
    assert words in refused.value.message
    assert "PNG, TIFF or NPY" in refused.value.message


def test_m54_an_empty_file_has_its_own_code() -> None:
    with pytest.raises(MaskRefused) as refused:
        decode_mask(b"")
    assert refused.value.code == "empty_file"


@pytest.mark.parametrize("form", ["GIF", "JPEG", "WEBP"])
def test_a_foreign_file_behind_a_png_signature_is_damaged(form: str) -> None:
    with pytest.raises(MaskRefused) as refused:
        decode_mask(SIGNATURE + by_pillow(form))
    assert refused.value.code == "damaged_file"


@pytest.mark.parametrize("mode", ["LA", "RGBA"], ids=lambda mode: f"m16-{mode}")
def test_an_opaque_alpha_channel_is_dropped_and_any_other_refused(mode: str) -> None:
    channels = 2 if mode == "LA" else 4
    pixels = np.repeat(IDS[:, :, None], channels, axis=2)
    pixels[:, :, -1] = 255
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    decoded = decode_mask(out.getvalue())
    assert np.array_equal(decoded.ids, IDS)
    assert decoded.warnings[0].startswith("alpha_dropped:")
    pixels[5, 9, -1] = 254
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    with pytest.raises(MaskRefused, match=r"Pixel \(9, 5\) is transparent \(alpha 254\)") as refused:
        decode_mask(out.getvalue())
    assert refused.value.code == "not_a_label_mask"
