"""Strict PNG (ISO/IEC 15948): the stored samples bit for bit, or a refusal. And a deterministic writer.

Pillow zero-fills cut files, rescales 2- and 4-bit greys, takes indexes beyond the palette and the first
frame of animations. So every chunk is checked here and the pixel data inflated within bounds; then libpng or Pillow
undo the row filters of a file rebuilt from nothing but header, palette and pixel data.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import MaskRefused

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS = 65_536  # a 32 MiB file could hold millions of empty chunks
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True, slots=True)
class Png:
    """Stored samples: (H, W) or (H, W, C) with C = 2 (grey, alpha), 3 or 4; uint8, or uint16 for 16-bit grey.

    `palette` is (N, 3) uint8 for palette files, whose samples are indexes into it.
    """

    samples: NDArray[np.uint8] | NDArray[np.uint16]
    palette: NDArray[np.uint8] | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool


def damaged(reason: str) -> MaskRefused:
    """Return the refusal of a file whose content cannot be trusted."""
    return MaskRefused(f"The file is damaged: {reason}. Export the mask again.", code="damaged_file")


def read_png(data: bytes, check_size: Callable[[int, int], None]) -> Png:
    """Decode a PNG whose every critical part is right.

    `check_size(width, height)` is called with the header's size before anything is inflated, and may raise.

    Raises:
        MaskRefused: damaged_file, animated_not_supported, trailing_data, not_a_label_mask.
    """
    header, palette, idat, warnings = _parse(data, check_size)
    if header.depth == 16 and header.color_type != 0:
        raise MaskRefused(
            "The PNG has 16-bit colour channels; a label mask is 8- or 16-bit grey, palette, or 8-bit RGB.",
            code="not_a_label_mask",
        )
    _check_pixel_data(header, idat)
    samples = _unfilter(header, idat)
    if palette is not None and samples.max() >= len(palette):
        y, x = np.argwhere(samples >= len(palette))[0]
        raise damaged(f"pixel ({x}, {y}) has index {samples[y, x]} in a palette of {len(palette)} colours")
    return Png(samples, palette, tuple(warnings))


def _chunks(data: bytes, warnings: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, content) up to and including IEND; what follows IEND is judged, never read."""
    position = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            raise damaged("it ends before its IEND chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if not (kind.isalpha() and kind.isascii() and kind[2:3].isupper()):
            raise damaged(f"at byte {position} there is no chunk but {kind!r}")
        if end > len(data):
            raise damaged(f"chunk {kind.decode()} at byte {position} runs past the end of the file")
        content = data[position + 8 : end - 4]
        if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end], "big"):
            if kind[:1].isupper():
                raise damaged(f"chunk {kind.decode()} at byte {position} has a wrong checksum")
            warnings.append(f"damaged_metadata: chunk {kind.decode()} has a wrong checksum; it was not used")
        yield kind, content
        position = end
        if kind == b"IEND":
            _judge_tail(data, position, warnings)
            return
    raise damaged(f"it has more than {_MAX_CHUNKS} chunks")


def _judge_tail(data: bytes, position: int, warnings: list[str]) -> None:
    tail = len(data) - position
    if data.startswith(SIGNATURE, position):
        raise MaskRefused(
            "A second PNG follows the first in this file; send one mask per file.", code="trailing_data"
        )
    if tail:
        warnings.append(f"trailing_data_ignored: {tail} bytes after the end of the PNG were dropped")


def _parse(
    data: bytes, check_size: Callable[[int, int], None]
) -> tuple[_Header, NDArray[np.uint8] | None, bytes, list[str]]:
    if not data.startswith(SIGNATURE):
        raise damaged("its PNG signature is incomplete or was altered by a text-mode transfer")
    warnings: list[str] = []
    header: _Header | None = None
    palette: NDArray[np.uint8] | None = None
    idat: list[bytes] = []
    previous = b""
    for kind, content in _chunks(data, warnings):
        if (header is None) != (kind == b"IHDR"):
            raise damaged("IHDR must be its first chunk, once")
        if kind == b"IHDR":
            header = _header(content)
            check_size(header.width, header.height)
        elif kind == b"PLTE":
            if palette is not None or idat:
                raise damaged("its palette (PLTE) is repeated or comes after the pixels")
            palette = _palette(content)
        elif kind == b"IDAT":
            if idat and previous != b"IDAT":
                raise damaged(f"chunk {previous.decode()} stands between two IDAT chunks")
            idat.append(content)
        else:
            _judge_other(kind, content, warnings)
        previous = kind
    if header is None or not idat:
        raise damaged("it holds no pixels (IDAT)")
    return header, _matching_palette(header, palette), b"".join(idat), warnings


def _judge_other(kind: bytes, content: bytes, warnings: list[str]) -> None:
    """Refuse animations and critical chunks of no standard; note a wish to be rotated; ignore the rest."""
    if kind in {b"acTL", b"fcTL", b"fdAT"}:
        raise MaskRefused(
            "The PNG is an animation (APNG); send one still picture.", code="animated_not_supported"
        )
    if kind == b"IEND" and content:
        raise damaged("its IEND chunk is not empty")
    if kind == b"eXIf":
        warnings.extend(orientation_warning(exif_orientation(content)))
    if kind[:1].isupper() and kind != b"IEND":
        raise damaged(f"critical chunk {kind.decode()} is not known to the PNG standard")


def _header(content: bytes) -> _Header:
    if len(content) != 13:
        raise damaged(f"its IHDR chunk has {len(content)} bytes instead of 13")
    width, height, depth, color_type, compression, filtering, interlace = struct.unpack(">IIBBBBB", content)
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise damaged(f"its header says {width}x{height} pixels")
    if depth not in _DEPTHS.get(color_type, ()):
        raise damaged(f"its header says bit depth {depth} with colour type {color_type}")
    if compression or filtering or interlace > 1:
        raise damaged("its header names a compression, filter or interlace method that does not exist")
    return _Header(width, height, depth, color_type, interlace == 1)


def _palette(content: bytes) -> NDArray[np.uint8]:
    if not content or len(content) % 3 or len(content) > 768:
        raise damaged(f"its palette has {len(content)} bytes")
    return np.frombuffer(content, np.uint8).reshape(-1, 3)


def _matching_palette(header: _Header, palette: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    if header.color_type == 3 and palette is None:
        raise damaged("it is a palette picture without a palette (PLTE)")
    if palette is not None and header.color_type in {0, 4}:
        raise damaged("it is a grey picture with a palette (PLTE)")
    if palette is not None and header.color_type == 3 and len(palette) > 1 << header.depth:
        raise damaged(f"its palette has {len(palette)} colours for {header.depth}-bit pixels")
    return palette if header.color_type == 3 else None  # in RGB files PLTE is only a suggestion


def exif_orientation(exif: bytes) -> int:
    """Return the orientation (1 to 8) in an Exif block's first directory; 1 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return 1
    start = struct.unpack_from(order + "I", exif, 4)[0]
    if start + 2 > len(exif):
        return 1
    count = struct.unpack_from(order + "H", exif, start)[0]
    for entry in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == 0x0112:
            return int(value)
    return 1


def orientation_warning(orientation: int) -> list[str]:
    """Return the warning of a file that asks for a rotation, which a label mask never gets."""
    if orientation in {0, 1}:
        return []
    return [f"exif_orientation_ignored: the file asks for orientation {orientation}; pixels stay as stored"]


def _passes(header: _Header) -> list[tuple[int, int]]:
    """Return (rows, bytes per row with its filter byte) of each pass: one, or Adam7's up to seven."""
    bits = header.depth * _CHANNELS[header.color_type]
    grids = _ADAM7 if header.interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(header.width - x) // dx), -(-(header.height - y) // dy)) for x, y, dx, dy in grids)
    return [(rows, 1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0]


def _check_pixel_data(header: _Header, idat: bytes) -> None:
    """Refuse pixel data that does not inflate to exactly the header's size with legal filters."""
    passes = _passes(header)
    expected = sum(rows * row_bytes for rows, row_bytes in passes)
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(idat, expected)
        more = inflater.decompress(inflater.unconsumed_tail, 1) if not inflater.eof else b""
    except zlib.error as error:
        raise damaged("its pixel data does not decompress") from error
    if len(raw) < expected:
        raise damaged(f"its pixel data ends after {len(raw)} of {expected} bytes")
    if more or inflater.unused_data or inflater.unconsumed_tail:
        raise damaged(f"its pixel data goes on after the {expected} bytes of the last row")
    if not inflater.eof:
        raise damaged("its pixel data lacks its end and checksum")
    start = 0
    for rows, row_bytes in passes:
        filters = np.frombuffer(raw, np.uint8, rows * row_bytes, start)[::row_bytes]
        if filters.max() > 4:
            raise damaged(f"a row has filter type {filters.max()}, which does not exist")
        start += rows * row_bytes


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
    )


def _unfilter(header: _Header, idat: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    # A palette picture of whole bytes is read as a grey one: its indexes are wanted.
    # A low-bit grey picture is handed to Pillow as a palette picture: as grey, it would be stretched, 0..3
    # to 0..255. The palette itself does not matter, only that indexes come back as stored.
    low = header.depth < 8
    color_type = 3 if low else 0 if header.color_type == 3 else header.color_type
    ihdr = struct.pack(
        ">IIBBBBB", header.width, header.height, header.depth, color_type, 0, 0, int(header.interlaced)
    )
    palette = _chunk(b"PLTE", bytes(3 << header.depth)) if low else b""
    minimal = SIGNATURE + _chunk(b"IHDR", ihdr) + palette + _chunk(b"IDAT", idat) + _chunk(b"IEND", b"")
    if low:
        with Image.open(io.BytesIO(minimal), formats=["PNG"]) as image:
            return np.asarray(image)
    samples: NDArray[np.uint8] | NDArray[np.uint16] = imagecodecs.png_decode(minimal)  # half of Pillow's time
    return samples


def write_png(samples: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Return an 8-bit grey PNG of `samples` (H, W), or a palette PNG where `palette` (N, 3) is given.

    No metadata, every row as its difference from the one above (filter "Up"), and of deflate only runs: masks are
    made of runs, for which this takes a third of the time of a general search and finds as much. Equal samples give
    equal bytes.
    """
    height, width = samples.shape
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 0 if palette is None else 3, 0, 0, 0)
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = 2
    rows[:, 1:] = samples
    rows[1:, 1:] -= samples[:-1]
    plte = b"" if palette is None else _chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    deflate = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    idat = _chunk(b"IDAT", deflate.compress(rows.data) + deflate.flush())
    return SIGNATURE + _chunk(b"IHDR", ihdr) + plte + idat + _chunk(b"IEND", b"")
