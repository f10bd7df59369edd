"""The names of file formats that are not read as masks, told by content, so that a refusal can name them."""

from __future__ import annotations

import re

# (pattern at the start of the file, what to tell people). The first match counts.
_BINARY: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8\xff", "is a JPEG, which changes ids"),
    (rb"GIF8", "is a GIF"),
    (rb"RIFF....WEBP", "is a WebP"),
    (rb"....ftypavi[fs]", "is an AVIF"),
    (rb"....ftyp", "is a HEIC or MP4"),
    (rb"BM.{4}\0{4}", "is a BMP"),
    (rb"8BPS", "is a Photoshop file (PSD)"),
    (rb"DDS ", "is a DDS"),
    (rb"icns", "is an ICNS"),
    (rb"\0\0\x01\0", "is an ICO"),
    (rb"SIMPLE  =", "is a FITS"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "is an EPS or PostScript"),
    (rb"%PDF", "is a PDF"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "is a JPEG 2000"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "is a JPEG XL"),
    (rb"\x8a[MJ]NG", "is an MNG"),
    (rb"v/1\x01", "is an OpenEXR"),
    (rb"qoif", "is a QOI"),
    (rb"P[1-7]\s", "is a Netpbm picture (PBM, PGM, PPM)"),
    (rb"PK\x03\x04|PK\x05\x06", "is a zip (or NPZ) archive"),
    (rb"\x1f\x8b", "is gzip-compressed"),
    (rb"BZh\d", "is bzip2-compressed"),
    (rb"\xfd7zXZ\0", "is xz-compressed"),
    (rb"\x28\xb5\x2f\xfd", "is zstd-compressed"),
    (rb"7z\xbc\xaf|Rar!", "is an archive"),
    (rb"\x89HDF", "is an HDF5"),
    (rb"CDF[\x01\x02\x05]", "is a NetCDF"),
    (rb"\0\0\0\x01Bud1", "is a macOS .DS_Store file"),
    (rb"\x7fELF|MZ", "is a program"),
    (rb"\x80[\x02-\x05].*\.\Z", "is a Python pickle, which is never loaded"),
)
_TEXT: tuple[tuple[str, str], ...] = (
    (r"version https://git-lfs", "looks like a Git LFS pointer (run `git lfs pull`)"),
    (r"(?!<!doctype html|<html).*<svg", "is an SVG"),
    (r"<!doctype html|.*<html", "is an HTML page (perhaps the error page of a download)"),
    (r"<", "is XML"),
    (r"[{\[]", "is JSON"),
    (r"[^\x00-\x08\x0e-\x1f\ufffd]*\Z", "is text"),
)


def describe(data: bytes) -> str:
    """Return a verb and the name of the format: "is a GIF", "looks like a Git LFS pointer"."""
    for pattern, words in _BINARY:
        if re.match(pattern, data, re.DOTALL):
            return words
    head = data[:1024].decode("utf-8", errors="replace").rstrip("\ufffd").lstrip("\ufeff \t\r\n").lower()
    for text_pattern, words in _TEXT:
        if re.match(text_pattern, head, re.DOTALL):
            return words
    return "is of no format that is known here"
