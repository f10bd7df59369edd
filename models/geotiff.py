"""A deterministic writer of TIFF and GeoTIFF: equal pixels, place and words give equal bytes.

Formats: TIFF 6.0; OGC GeoTIFF 1.1 (19-008r4); GDAL's own tags 42112 (metadata, XML) and 42113 (nodata); XMP in 700.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from models.georeference import Georeference

SOFTWARE = "EarthSynth"
_STRIP_BYTES = 1 << 16
_FORMS = {1: "B", 2: "s", 3: "H", 4: "I", 12: "d"}  # by the TIFF type's number
_Tag = tuple[int, int, tuple[Any, ...]]  # number, type, values


def write_tiff(
    samples: NDArray[Any],
    *,
    georeference: Georeference | None = None,
    nodata: int | None = None,
    description: str = "",
    xmp: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return a deflated little-endian TIFF of `samples`: (H, W) uint8 or uint32 grey, or (H, W, 3) uint8 RGB.

    `description` is ImageDescription, `metadata` GDAL's own items. With a `georeference` it is a GeoTIFF, and its
    pixels are areas.
    """
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    bits = samples.dtype.itemsize * 8
    differences = channels == 3
    rows = max(1, _STRIP_BYTES // (width * channels * samples.dtype.itemsize))
    strips = [
        zlib.compress(_bytes(samples[top : top + rows], differences=differences), 6)
        for top in range(0, height, rows)
    ]
    offsets = np.cumsum([8, *map(len, strips)]).tolist()
    tags: list[_Tag] = [
        (256, 4, (width,)),
        (257, 4, (height,)),
        (258, 3, (bits,) * channels),
        (259, 3, (8,)),  # Adobe's deflate
        (262, 3, (2 if channels == 3 else 1,)),
        (273, 4, tuple(offsets[:-1])),
        (277, 3, (channels,)),
        (278, 4, (rows,)),
        (279, 4, tuple(map(len, strips))),
        (284, 3, (1,)),
        (305, 2, (_text(SOFTWARE),)),
        (317, 3, (2 if differences else 1,)),
        (339, 3, (1,) * channels),
    ]
    if description:
        tags.append((270, 2, (_text(description),)))
    if xmp is not None:
        tags.append((700, 1, tuple(xmp.encode())))
    if metadata:
        tags.append((42112, 2, (_text(_gdal_metadata(metadata)),)))
    if nodata is not None:
        tags.append((42113, 2, (_text(str(nodata)),)))
    if georeference is not None:
        tags += _geo_tags(georeference)
    body = b"".join(strips)
    start = 8 + len(body) + len(body) % 2
    header = b"II*\0" + struct.pack("<I", start)
    return header + body + b"\0" * (len(body) % 2) + _directory(sorted(tags), start)


def _bytes(block: NDArray[Any], *, differences: bool) -> bytes:
    if differences:
        out = block.copy()
        out[:, 1:] -= block[:, :-1]
        return out.tobytes()
    return block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes()


def _geo_tags(georeference: Georeference) -> list[_Tag]:
    a, b, c, d, e, f = georeference.transform
    tags: list[_Tag]
    if b == 0 and d == 0 and a > 0 > e:  # north is up: the form that every reader knows
        tags = [(33550, 12, (a, -e, 0.0)), (33922, 12, (0.0, 0.0, 0.0, c, f, 0.0))]
    else:
        matrix = (a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        tags = [(34264, 12, matrix)]
    if georeference.geokeys is not None:
        tags.append((34735, 3, georeference.geokeys.directory))
        if georeference.geokeys.doubles:
            tags.append((34736, 12, georeference.geokeys.doubles))
        if georeference.geokeys.text:
            tags.append((34737, 2, (_text(georeference.geokeys.text),)))
    return tags


def _gdal_metadata(items: Mapping[str, str]) -> str:
    lines = (f"<Item name={quoteattr(name)}>{escape(value)}</Item>" for name, value in items.items())
    return f"<GDALMetadata>{''.join(lines)}</GDALMetadata>"


def _text(text: str) -> bytes:
    return text.encode("ascii", "replace") + b"\0"


def _directory(tags: list[_Tag], start: int) -> bytes:
    """Return the page directory that stands at byte `start`, and after it what does not fit into its entries."""
    later = start + 2 + 12 * len(tags) + 4
    entries, rest = [struct.pack("<H", len(tags))], b""
    for number, kind, values in tags:
        form = _FORMS[kind]
        count = len(values[0]) if form == "s" else len(values)
        packed = struct.pack(f"<{count}{form}", *values)
        if len(packed) > 4:
            place = struct.pack("<I", later + len(rest))
            rest += packed + b"\0" * (len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        entries.append(struct.pack("<HHI", number, kind, count) + place)
    return b"".join([*entries, b"\0\0\0\0", rest])
