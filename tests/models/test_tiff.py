"""TIFF masks: exact or refused. Test ids start with the row of the catalogue of hostile inputs."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from models import tiff_child
from models.errors import EarthSynthError, MaskRefused, UnsupportedFormat
from models.masks import Encoding, decode_mask
from models.tiff import read_tiff

IDS = np.kron(np.arange(42).reshape(6, 7), np.ones((5, 6))).astype(np.uint8)  # (30, 42)


def saved(array: NDArray[Any], **options: Any) -> bytes:
    out = io.BytesIO()
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(out, array, metadata=None, **options)
    return out.getvalue()


def read_here(data: bytes) -> NDArray[Any]:
    """The child's reader in this process: quick, and as exact."""
    return tiff_child.read(data, 1, 4096)[1].squeeze()


def patched(data: bytes, tag: int, value: int, *, field: str = "value") -> bytes:
    """The same little-endian TIFF with another value, count or type in one tag."""
    start = struct.unpack_from("<I", data, 4)[0]
    out = bytearray(data)
    for place in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if struct.unpack_from("<H", data, place)[0] == tag:
            form, offset = {"type": ("<H", 2), "count": ("<I", 4), "value": ("<I", 8)}[field]
            struct.pack_into(form, out, place + offset, value)
    assert bytes(out) != data
    return bytes(out)


def next_page_patched(data: bytes, offset: int) -> bytes:
    start = struct.unpack_from("<I", data, 4)[0]
    out = bytearray(data)
    struct.pack_into("<I", out, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], offset)
    return bytes(out)


LAYOUTS: dict[str, dict[str, Any]] = {
    "striped": {"rowsperstrip": 7},
    "m67-tiled": {"tile": (16, 32)},
    "m67-bigtiff": {"bigtiff": True},
    "m58-big-endian": {"byteorder": ">"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "compression", [None, "lzw", "deflate", "packbits", "zstd"], ids=lambda c: f"m65-{c}"
)
def test_every_layout_and_lossless_compression_keeps_ids(compression: str | None, layout: str) -> None:
    for dtype in ("u1", "u2", "i2", "u4"):
        for predictor in (None, 2) if compression not in {None, "packbits"} else (None,):
            options = LAYOUTS[layout] | {"compression": compression, "predictor": predictor}
            assert np.array_equal(read_here(saved(IDS.astype(dtype), **options)), IDS), (dtype, predictor)


def test_m57_m58_through_the_child_process() -> None:
    assert np.array_equal(decode_mask(saved(IDS)).ids, IDS)
    decoded = decode_mask(saved(IDS.astype(">u2"), byteorder=">", compression="lzw"))
    assert np.array_equal(decoded.ids, IDS)
    assert decoded.encoding is Encoding.CLASS_ID


def test_m59_white_is_zero_keeps_the_stored_values() -> None:
    assert np.array_equal(read_here(saved(IDS, photometric="miniswhite")), IDS)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_m60_1_bit_is_0_and_1_as_stored(photometric: str) -> None:
    mask = IDS % 3 == 0
    assert np.array_equal(read_here(saved(mask, photometric=photometric)), mask)


def test_pillows_own_1_bit_and_palette_files() -> None:
    mask = Image.fromarray((IDS % 3 == 0).astype(np.uint8) * 255).convert("1")
    out = io.BytesIO()
    mask.save(out, "TIFF")
    assert np.array_equal(read_here(out.getvalue()), IDS % 3 == 0)
    palette = Image.fromarray(IDS).convert("P")
    palette.putdata(IDS.ravel().tolist())
    palette.putpalette([200, 10, 30] * 256)
    out = io.BytesIO()
    palette.save(out, "TIFF", compression="tiff_lzw")
    read = read_tiff(out.getvalue(), min_side=1, max_side=4096)
    assert np.array_equal(read.samples, IDS)
    assert read.palette is not None
    assert read.palette.tolist() == [[200, 10, 30]] * 256


@pytest.mark.parametrize("planar", ["contig", "separate"], ids=lambda planar: f"m67-{planar}")
def test_rgb_keeps_its_channels(planar: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 42, 3), dtype=np.uint8)
    stored = pixels if planar == "contig" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    data = saved(stored, photometric="rgb", planarconfig=planar, compression="deflate", predictor=2)
    assert np.array_equal(read_here(data), pixels)


def test_m73_nodata_255_is_ignore_and_kept() -> None:
    ids = IDS.copy()
    ids[3, 4] = 255
    tags = [(42113, "s", 4, "255", True), (33550, "d", 3, (1.0, 1.0, 0.0), True)]
    decoded = decode_mask(saved(ids, extratags=tags))
    assert np.array_equal(decoded.ids, ids)
    assert decoded.warnings[0].startswith("nodata_is_ignore:")
    with pytest.raises(MaskRefused, match=r"Pixel \(4, 3\) is 255"):
        decode_mask(saved(ids))


def test_m74_an_xml_bomb_in_the_description_is_never_read() -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><OME>&b;</OME>'
    assert np.array_equal(decode_mask(saved(IDS, description=bomb)).ids, IDS)


def test_orientation_is_not_applied() -> None:
    decoded = decode_mask(saved(IDS, extratags=[(274, "H", 1, 6, True)]))
    assert np.array_equal(decoded.ids, IDS)
    assert decoded.warnings[0].startswith("exif_orientation_ignored:")


def _pages(count: int) -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for _ in range(count):
            writer.write(IDS, metadata=None, contiguous=False)
    return out.getvalue()


def _whole(value: float) -> NDArray[np.float32]:
    return np.full((30, 42), value, np.float32)


PLAIN = saved(IDS)
DEFLATED = saved(IDS, compression="deflate")
REFUSED: list[tuple[str, bytes, str]] = [
    ("m62-uint32-70000", saved(np.where(IDS == 5, 70000, IDS.astype(np.uint32))), "label_out_of_range"),
    *(
        (f"m63-float-{value}", saved(_whole(value)), "not_a_label_mask")
        for value in (3.0, 0.5, np.nan, np.inf)
    ),
    ("m64-complex64", saved(IDS.astype(np.complex64)), "not_a_label_mask"),
    ("m64-uint64", saved(IDS.astype(np.uint64)), "not_a_label_mask"),
    ("m66-jpeg", saved(IDS, compression="jpeg"), "lossy_mask"),
    ("m68-2-pages", _pages(2), "multi_page_not_supported"),
    ("m68-5000-pages", _pages(5000), "multi_page_not_supported"),
    ("m69-page-list-circle", next_page_patched(PLAIN, struct.unpack_from("<I", PLAIN, 4)[0]), "damaged_file"),
    ("m70-page-beyond-end", PLAIN[:4] + struct.pack("<I", 10**9) + PLAIN[8:], "damaged_file"),
    ("m70-65535-tags", PLAIN[:8] + b"\xff\xff" + PLAIN[10:], "damaged_file"),
    ("m70-strip-of-4-gb", patched(PLAIN, 279, 0xFFFFFFFF), "damaged_file"),
    ("m70-strip-count-4-g", patched(PLAIN, 279, 0xFFFFFFFF, field="count"), "damaged_file"),
    ("m70-strip-beyond-end", patched(PLAIN, 273, 10**9), "damaged_file"),
    ("strip-offset-as-text", patched(PLAIN, 273, 2, field="type"), "damaged_file"),
    ("strip-offset-signed", patched(PLAIN, 273, 9, field="type"), "damaged_file"),
    ("m72-truncated-raw", PLAIN[:-100], "damaged_file"),
    ("m72-truncated-deflate", DEFLATED[:-10], "damaged_file"),
    ("strip-inflates-short", patched(DEFLATED, 257, 31), "damaged_file"),
    ("strip-inflates-long", patched(DEFLATED, 257, 29), "damaged_file"),
    ("too-large", patched(PLAIN, 256, 70_000), "too_many_pixels"),
    ("too-small", saved(IDS[:8]), "mask_too_small"),
    ("header-only", b"II*\0", "damaged_file"),
    ("width-0", patched(PLAIN, 256, 0), "damaged_file"),
    ("rows-per-strip-0", patched(PLAIN, 278, 0), "damaged_file"),
    ("16-bit-rgb", saved(np.zeros((30, 42, 3), np.uint16), photometric="rgb"), "not_a_label_mask"),
]


@pytest.mark.parametrize(("data", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused_without_delay(data: bytes, code: str) -> None:
    began = time.monotonic()
    with pytest.raises(MaskRefused) as refused:
        decode_mask(data)
    assert refused.value.code == code
    assert time.monotonic() - began < 5  # 0.2 seconds on a quiet machine


def test_an_unread_compression_is_an_unsupported_format() -> None:
    with pytest.raises(UnsupportedFormat, match="compression 34925"):
        decode_mask(saved(IDS, compression="lzma"))


def test_a_reader_that_takes_too_long_is_killed() -> None:
    began = time.monotonic()
    with pytest.raises(MaskRefused, match="could not be read within"):
        read_tiff(PLAIN, min_side=1, max_side=4096, timeout_seconds=0.001)
    assert time.monotonic() - began < 2


def test_mutated_files_are_read_or_refused() -> None:
    rng = np.random.default_rng(3)
    sources = [
        PLAIN,
        DEFLATED,
        saved(IDS, compression="lzw", tile=(16, 16)),
        saved(IDS, compression="zstd", bigtiff=True),
    ]
    for source in sources * 300:
        data = bytearray(source)
        for place in rng.integers(4, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        try:
            tiff_child.read(bytes(data), 16, 4096)
        except (tiff_child.Refused, EarthSynthError):
            continue
