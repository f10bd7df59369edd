"""Reads one TIFF from stdin and writes its samples to stdout; a program of its own, run by `models.tiff`.

Exact or refused: every strip or tile must lie in the file and decode to exactly its size. Written out rather
than left to a library, because readers fill missing strips with zeros, which here would be wrong labels.
Format: TIFF 6.0, BigTIFF, Adobe's technical note 3 (predictor).
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

_LOSSY = {6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP", 50002: "JPEG XL"}
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q", 18: "Q"}  # of the tags read here: whole numbers, none below 0
_GDAL_NODATA = 42113
_TEXTS = {_GDAL_NODATA, 34737}
_GEO_DOUBLES = {33550: "scale", 33922: "tiepoints", 34264: "matrix", 34736: "doubles"}
_MOST_GEO_VALUES = 10_000
_PHOTOMETRIC = {0: 1, 1: 1, 2: 3, 3: 1}  # WhiteIsZero, BlackIsZero, RGB, palette: colour channels of each
_DEFLATE = {8, 32946}
_READ = {1, 5, 32773, 50000} | _DEFLATE
_MEMORY_BYTES = 1 << 30


class Refused(Exception):
    """A refusal: (code, sentence)."""


def _damaged(reason: str) -> Refused:
    return Refused("damaged_file", f"The TIFF is damaged: {reason}. Export the mask again.")


class _Directory:
    """The tags of a TIFF's first page; `next` is the offset of the second, 0 where there is none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        big = self.unpack("H", 2)[0] == 43
        self._word = "Q" if big else "I"
        word = 8 if big else 4
        start = self.unpack(self._word, 8 if big else 4)[0]
        count = self.unpack("Q" if big else "H", start)[0]
        first, size = start + (8 if big else 2), 4 + 2 * word
        if count == 0 or first + count * size + word > len(data):
            raise _damaged(f"its page directory with {count} entries does not lie in the file")
        self._at = {self.unpack("H", place)[0]: place for place in range(first, first + count * size, size)}
        self.next: int = self.unpack(self._word, first + count * size)[0]
        self.start: int = start

    def unpack(self, form: str, offset: int) -> tuple[Any, ...]:
        try:
            return struct.unpack_from(self.order + form, self.data, offset)
        except (struct.error, OverflowError) as error:
            raise _damaged(f"it points to byte {offset}, which is not in it") from error

    def get(self, tag: int, default: tuple[int, ...] = ()) -> tuple[Any, ...]:
        """Return a tag's values; texts as one bytes object."""
        place = self._at.get(tag)
        if place is None:
            return default
        kind, count = self.unpack("H" + self._word, place + 2)
        form = "s" if tag in _TEXTS and kind == 2 else _TYPES.get(kind)
        if tag in _GEO_DOUBLES:
            form = "d" if kind == 12 else None
        if form is None or count > len(self.data):
            raise _damaged(f"tag {tag} has type {kind} and {count} values")
        size = struct.calcsize(form) * count
        field = place + 4 + struct.calcsize(self._word)
        inline = size <= struct.calcsize(self._word)
        return self.unpack(f"{count}{form}", field if inline else self.unpack(self._word, field)[0])

    def one(self, tag: int, default: int | None = None) -> int:
        values = self.get(tag, () if default is None else (default,))
        if len(values) < 1 or not isinstance(values[0], int):
            raise _damaged(f"its tag {tag} is missing")
        return values[0]


def _page_format(page: _Directory) -> tuple[np.dtype[Any], int, int]:
    """Return (sample type in the file's byte order, bits per sample, samples per pixel)."""
    samples = page.one(277, 1)
    bits = set(page.get(258, (1,)))
    kinds = set(page.get(339, (1,)))
    if not kinds <= {1, 2} or len(bits) != 1 or len(kinds) != 1 or not bits <= {1, 2, 4, 8, 16, 32}:
        raise Refused(
            "not_a_label_mask",
            f"The TIFF holds samples of {sorted(bits)} bits in formats {sorted(kinds)}; a label mask holds "
            "whole numbers of 1 to 32 bits: save the ids as uint8.",
        )
    photometric = page.one(262)
    colors = _PHOTOMETRIC.get(photometric)
    if colors is None or samples not in {colors, colors + 1}:
        raise Refused(
            "not_a_label_mask",
            f"The TIFF has colour space {photometric} with {samples} samples per pixel; a label mask is "
            "grey, palette or RGB.",
        )
    depth = bits.pop()
    kind = "i" if kinds == {2} and depth >= 8 else "u"
    if samples > 1 and depth != 8:
        raise Refused("not_a_label_mask", f"The TIFF has {samples} channels of {depth} bits; save 8-bit RGB.")
    return np.dtype(f"{page.order}{kind}{max(depth, 8) // 8}"), depth, samples


def _check_page(page: _Directory, min_side: int, max_side: int) -> None:
    if page.next == page.start:
        raise _damaged("its page list runs in a circle")
    if page.next != 0:
        raise Refused(
            "multi_page_not_supported",
            "The TIFF has more than one page (overviews count); save one page without overviews.",
        )
    width, height = page.one(256), page.one(257)
    if width < 1 or height < 1:
        raise _damaged(f"its header says {width}x{height} pixels")
    if width > max_side or height > max_side:
        raise Refused(
            "too_many_pixels",
            f"The mask is {width}x{height} pixels; the limit is {max_side}x{max_side}: cut it into tiles.",
        )
    if width < min_side or height < min_side:
        raise Refused(
            "mask_too_small",
            f"The mask is {width}x{height} pixels; at least {min_side}x{min_side} are needed.",
        )
    compression = page.one(259, 1)
    if compression in _LOSSY:
        raise Refused(
            "lossy_mask",
            f"The TIFF is compressed with {_LOSSY[compression]}, which changes ids; use deflate or LZW.",
        )
    if compression not in _READ:
        raise Refused(
            "unsupported_format",
            f"The TIFF uses compression {compression}; use none, LZW, deflate, PackBits or zstd.",
        )
    if page.one(317, 1) not in {1, 2}:
        raise Refused("not_a_label_mask", "The TIFF uses the floating-point predictor; save whole numbers.")
    if page.one(266, 1) != 1:
        raise Refused("unsupported_format", "The TIFF stores its bits in reverse order (FillOrder 2).")


def _inflate(data: bytes, compression: int, size: int) -> bytes:
    """Return the decoded bytes of one strip or tile, which must be exactly `size`."""
    out: bytes
    try:
        if compression == 1:
            out = data
        elif compression in _DEFLATE:
            inflater = zlib.decompressobj()
            out = inflater.decompress(data, size + 1)
            if not inflater.eof:
                raise _damaged("a strip's compressed data is cut or too long")
        elif compression == 5:
            out = bytes(imagecodecs.lzw_decode(data, out=size + 1))
        elif compression == 32773:
            out = bytes(imagecodecs.packbits_decode(data, out=size + 1))
        else:
            out = bytes(imagecodecs.zstd_decode(data, out=size + 1))
    except (zlib.error, RuntimeError, ValueError) as error:
        raise _damaged("a strip does not decompress") from error
    if len(out) != size:
        raise _damaged(f"a strip holds {len(out)} bytes where {size} are due")
    return out


def _segment(
    raw: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], depth: int, predictor: int
) -> NDArray[Any]:
    rows, columns, samples = shape
    if depth < 8:
        if predictor != 1:
            raise _damaged("it uses a predictor on samples below 8 bits")
        packed = np.frombuffer(raw, np.uint8).reshape(rows, -1)
        shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
        spread = (packed[:, :, None] >> shifts) & np.uint8((1 << depth) - 1)
        return spread.reshape(rows, -1)[:, : columns * samples].reshape(shape)
    block = np.frombuffer(raw, dtype).reshape(shape)
    if predictor == 2:
        return np.cumsum(block, axis=1, dtype=dtype.newbyteorder("="))
    return block


def _decode(page: _Directory, dtype: np.dtype[Any], depth: int, samples: int) -> NDArray[Any]:
    """Return the page's samples, (H, W, C) in native byte order."""
    width, height = page.one(256), page.one(257)
    tiled = 322 in page._at
    block_width, block_height = (
        (page.one(322), page.one(323)) if tiled else (width, min(page.one(278, height), height))
    )
    separate = page.one(284, 1) == 2 and samples > 1
    planes, depth_samples = (samples, 1) if separate else (1, samples)
    offsets, counts = (page.get(324), page.get(325)) if tiled else (page.get(273), page.get(279))
    if not (0 < block_width <= 8192 and 0 < block_height <= 8192):
        raise _damaged(f"its strips or tiles are {block_width}x{block_height} pixels")
    across, down = -(-width // block_width), -(-height // block_height)
    if len(offsets) != across * down * planes or len(counts) != len(offsets):
        raise _damaged(f"it has {len(offsets)} strips or tiles where {across * down * planes} are due")
    image = np.empty((height, width, samples), dtype.newbyteorder("="))
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        plane, place = divmod(index, across * down)
        top, left = place // across * block_height, place % across * block_width
        rows = block_height if tiled else min(block_height, height - top)  # tiles are padded, strips are not
        if count == 0 or offset == 0 or offset + count > len(page.data):
            raise _damaged(f"the strip or tile at pixel ({left}, {top}) is not in the file")
        size = rows * ((block_width * depth_samples * depth + 7) // 8)
        raw = _inflate(page.data[offset : offset + count], page.one(259, 1), size)
        block = _segment(raw, (rows, block_width, depth_samples), dtype, depth, page.one(317, 1))
        target = image[top : top + rows, left : left + block_width, plane : plane + depth_samples]
        target[...] = block[: target.shape[0], : target.shape[1]]
    return image


def _nodata(page: _Directory) -> int | None:
    """Return GDAL's nodata value where it is a whole number."""
    text = b"".join(value for value in page.get(_GDAL_NODATA) if isinstance(value, bytes)).strip(b"\x00 ")
    return int(text) if text.isdigit() and len(text) < 10 else None


def _geo(page: _Directory) -> dict[str, Any]:
    """Return the tags that say where the pixels lie; a problem in them is said, and refuses no labels."""
    try:
        found: dict[str, Any] = {name: list(page.get(tag)) for tag, name in _GEO_DOUBLES.items()}
        found["directory"] = list(page.get(34735))
        text = b"".join(value for value in page.get(34737) if isinstance(value, bytes))
    except Refused:
        return {"problem": "a GeoTIFF tag is damaged"}
    found["text"] = text.rstrip(b"\0").decode("latin-1")
    if any(len(values) > _MOST_GEO_VALUES for values in found.values()):
        return {"problem": "a GeoTIFF tag has very many values"}
    return {name: values for name, values in found.items() if values}


def read(data: bytes, min_side: int, max_side: int) -> tuple[dict[str, Any], NDArray[Any]]:
    """Return (description, samples (H, W) or (H, W, C)) of a TIFF.

    Raises:
        Refused: with a code of `models.tiff.read_tiff`.
    """
    page = _Directory(data)
    dtype, depth, samples = _page_format(page)
    _check_page(page, min_side, max_side)
    image = _decode(page, dtype, depth, samples)
    palette: list[list[int]] = []
    if page.one(262) == 3:
        # 16-bit columns of reds, greens, blues; old writers put 8-bit numbers there.
        columns = np.array(page.get(320), np.uint32).reshape(3, -1)
        palette = (columns if columns.max(initial=0) < 256 else columns >> 8).T.tolist()
        if len(palette) != 1 << depth:
            raise _damaged(f"its palette has {len(palette)} colours for {depth}-bit pixels")
    description = {
        "shape": image.shape if samples > 1 else image.shape[:2],
        "dtype": image.dtype.str,
        "palette": palette,
        "nodata": _nodata(page),
        "orientation": page.one(274, 1),
        "geo": _geo(page),
    }
    return description, image


def _limit(seconds: float) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def main() -> None:
    """Answer one line of JSON, and the raw samples where the file was accepted."""
    min_side, max_side, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    data = sys.stdin.buffer.read()
    _limit(seconds)
    try:
        description, image = read(data, min_side, max_side)
    except Refused as refused:
        code, message = refused.args
        sys.stdout.buffer.write(json.dumps({"code": code, "message": message}).encode() + b"\n")
        return
    sys.stdout.buffer.write(json.dumps(description).encode() + b"\n")
    sys.stdout.buffer.write(image.tobytes())


if __name__ == "__main__":
    main()
