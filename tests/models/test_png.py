"""PNG masks: exact or refused. Test ids start with the row of the catalogue of hostile inputs (M01 …)."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib

import numpy as np
import png
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models.errors import MaskRefused, UnsupportedFormat
from models.masks import decode_mask
from models.png import SIGNATURE, read_png, write_png

SIDE = 64
Chunk = tuple[bytes, bytes]


def chunk(kind: bytes, content: bytes, *, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def ihdr(width: int = SIDE, height: int = SIDE, depth: int = 8, color: int = 0, interlace: int = 0) -> Chunk:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)


def rows(ids: NDArray[np.uint8], filter_type: int = 0) -> bytes:
    return b"".join(bytes([filter_type]) + row.tobytes() for row in ids)


def build(*chunks: Chunk) -> bytes:
    return SIGNATURE + b"".join(chunk(kind, content) for kind, content in chunks)


IDS = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8) % 20
IDAT: Chunk = (b"IDAT", zlib.compress(rows(IDS)))
IEND: Chunk = (b"IEND", b"")
PLAIN = build(ihdr(), IDAT, IEND)


def with_ancillary(*chunks: Chunk) -> bytes:
    return build(ihdr(), *chunks, IDAT, IEND)


def written(pixels: NDArray[np.uint16], **options: object) -> bytes:
    """A PNG from pypng, the second source."""
    out = io.BytesIO()
    height, width = pixels.shape
    png.Writer(width, height, **options).write(out, pixels.tolist())
    return out.getvalue()


def refusal(data: bytes, **options: object) -> MaskRefused:
    with pytest.raises(MaskRefused) as refused:
        decode_mask(data, **options)  # type: ignore[arg-type]
    return refused.value


def test_m01_8_bit_grey_keeps_ids() -> None:
    decoded = decode_mask(PLAIN)
    assert np.array_equal(decoded.ids, IDS)
    assert decoded.ids.dtype == np.uint8
    assert decoded.warnings == ()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16], ids=lambda depth: f"m02-m03-m10-{depth}-bit")
@pytest.mark.parametrize("interlaced", [False, True], ids=["straight", "m18-adam7"])
@pytest.mark.parametrize("width", [16, 17, 23, 31])
def test_grey_of_every_depth_keeps_ids(depth: int, interlaced: bool, width: int) -> None:
    ids = np.random.default_rng(depth).integers(0, min(1 << depth, 67), (19, width), dtype=np.uint16)
    ids[0, 0] = 2 if depth > 1 else 0
    data = written(ids, greyscale=True, bitdepth=depth, interlace=interlaced)
    assert np.array_equal(decode_mask(data).ids, ids)


@pytest.mark.parametrize("depth", [1, 2, 4, 8], ids=lambda depth: f"m05-m06-m07-{depth}-bit")
@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "m07-trns"])
def test_palette_keeps_indexes_and_ignores_colours(depth: int, alpha: bool) -> None:
    count = min(1 << depth, 67)
    ids = np.random.default_rng(depth).integers(0, count, (33, 21), dtype=np.uint16)
    palette = [(7, 7, 7, 100) if alpha else (7, 7, 7)] * count  # one colour for all ids
    data = written(ids, palette=palette, bitdepth=depth)
    assert np.array_equal(decode_mask(data).ids, ids)


@pytest.mark.parametrize("filter_type", range(5))
def test_every_row_filter_is_undone(filter_type: int) -> None:
    filtered = bytearray()
    for y, row in enumerate(IDS.astype(int)):
        filtered.append(filter_type)
        for x, value in enumerate(row):
            left = IDS[y, x - 1] if x else 0
            up = IDS[y - 1, x] if y else 0
            corner = IDS[y - 1, x - 1] if x and y else 0
            near = sorted((left, up, corner), key=lambda v: abs(int(left) + int(up) - int(corner) - int(v)))
            guess = [0, int(left), int(up), (int(left) + int(up)) // 2, int(near[0])][filter_type]
            filtered.append((int(value) - guess) % 256)
    data = build(ihdr(), (b"IDAT", zlib.compress(bytes(filtered))), IEND)
    assert np.array_equal(decode_mask(data).ids, IDS)


EXIF_6 = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
_ZIP = io.BytesIO()
with zipfile.ZipFile(_ZIP, "w") as _archive:
    _archive.writestr("a.txt", "a")

ACCEPTED: list[tuple[str, bytes, str]] = [
    (
        "m19-gamma-and-profile",
        with_ancillary((b"gAMA", b"\0\0\xb1\x8f"), (b"cHRM", bytes(32)), (b"sRGB", b"\0")),
        "",
    ),
    (
        "m19-sbit-and-iccp",
        with_ancillary((b"sBIT", b"\x05"), (b"iCCP", b"x\0\0" + zlib.compress(bytes(10**6)))),
        "",
    ),
    ("m20-exif-orientation", with_ancillary((b"eXIf", EXIF_6)), "exif_orientation_ignored"),
    ("m21-text", with_ancillary((b"tEXt", b"Author\0someone"), (b"eXIf", b"MM\0*" + bytes(30))), ""),
    (
        "m43-wrong-ancillary-crc",
        SIGNATURE + chunk(*ihdr()) + chunk(b"tEXt", b"a\0b", crc=1) + chunk(*IDAT) + chunk(*IEND),
        "damaged_metadata",
    ),
    ("m47-zip-polyglot", PLAIN + _ZIP.getvalue(), "trailing_data_ignored"),
    ("m48-html-appended", PLAIN + b"<html><script>alert(1)</script>", "trailing_data_ignored"),
    (
        "one-byte-idats",
        build(ihdr(), *((b"IDAT", IDAT[1][i : i + 1]) for i in range(len(IDAT[1]))), IEND),
        "",
    ),
]


@pytest.mark.parametrize(("data", "warning"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted_with_ids_untouched(data: bytes, warning: str) -> None:
    decoded = decode_mask(data)
    assert np.array_equal(decoded.ids, IDS)
    assert [note.split(":")[0] for note in decoded.warnings] == ([warning] if warning else [])


ACTL: Chunk = (b"acTL", struct.pack(">II", 2, 0))
RGB_IDAT: Chunk = (b"IDAT", zlib.compress(bytes(SIDE * (3 * SIDE + 1))))
REFUSED: list[tuple[str, bytes, str]] = [
    ("m08-index-beyond-palette", build(ihdr(color=3), (b"PLTE", bytes(3 * 5)), IDAT, IEND), "damaged_file"),
    ("m09-palette-missing", build(ihdr(color=3), IDAT, IEND), "damaged_file"),
    (
        "m22-apng-2",
        build(ihdr(), ACTL, (b"fcTL", bytes(26)), IDAT, (b"fcTL", bytes(26)), (b"fdAT", b"\0" * 9), IEND),
        "animated_not_supported",
    ),
    (
        "m22-apng-3000",
        build(ihdr(), ACTL, IDAT, *[(b"fdAT", b"\0" * 9)] * 3000, IEND),
        "animated_not_supported",
    ),
    ("m29-65500x1", build(ihdr(65500, 1), IDAT, IEND), "too_many_pixels"),
    (
        "m31-20000x20000-1-bit",
        build(ihdr(20000, 20000, 1), (b"IDAT", zlib.compress(bytes(20000 * 2501))), IEND),
        "too_many_pixels",
    ),
    ("300-megapixel-header", build(ihdr(20000, 15000), IDAT, IEND), "too_many_pixels"),
    ("1x1", build(ihdr(1, 1), (b"IDAT", zlib.compress(b"\0\0")), IEND), "mask_too_small"),
    ("m33-width-0", build(ihdr(0, 64), IDAT, IEND), "damaged_file"),
    ("m33-width-2-to-31", build(ihdr(2**31, 64), IDAT, IEND), "damaged_file"),
    ("m34-depth-3-colour-5", build(ihdr(depth=3, color=5), IDAT, IEND), "damaged_file"),
    ("m34-depth-4-rgb", build(ihdr(depth=4, color=2), IDAT, IEND), "damaged_file"),
    ("interlace-2", build(ihdr(interlace=2), IDAT, IEND), "damaged_file"),
    ("m38-50-mb-inside", build(ihdr(), (b"IDAT", zlib.compress(bytes(50 << 20))), IEND), "damaged_file"),
    ("m39-10-rows-only", build(ihdr(), (b"IDAT", zlib.compress(rows(IDS[:10]))), IEND), "damaged_file"),
    ("m40-cut", PLAIN[:-40], "damaged_file"),
    ("m41-no-iend", build(ihdr(), IDAT), "damaged_file"),
    ("m42-wrong-idat-crc", SIGNATURE + chunk(*ihdr()) + chunk(*IDAT, crc=1) + chunk(*IEND), "damaged_file"),
    (
        "m44-text-between-idats",
        build(ihdr(), (b"IDAT", IDAT[1][:20]), (b"tEXt", b"a\0b"), (b"IDAT", IDAT[1][20:]), IEND),
        "damaged_file",
    ),
    ("m45-filter-9", build(ihdr(), (b"IDAT", zlib.compress(rows(IDS, 9))), IEND), "damaged_file"),
    ("m46-unknown-critical", build(ihdr(), (b"ABCD", b""), IDAT, IEND), "damaged_file"),
    ("m49-two-pngs", PLAIN + PLAIN, "trailing_data"),
    ("signature-only", SIGNATURE, "damaged_file"),
    ("text-mode-transfer", PLAIN.replace(b"\r\n", b"\n", 1), "damaged_file"),
    ("no-ihdr", build(IDAT, IEND), "damaged_file"),
    ("two-ihdrs", build(ihdr(), ihdr(), IDAT, IEND), "damaged_file"),
    ("short-ihdr", build((b"IHDR", bytes(12)), IDAT, IEND), "damaged_file"),
    ("no-idat", build(ihdr(), IEND), "damaged_file"),
    ("grey-with-palette", build(ihdr(), (b"PLTE", bytes(9)), IDAT, IEND), "damaged_file"),
    ("palette-after-pixels", build(ihdr(color=3), IDAT, (b"PLTE", bytes(768)), IEND), "damaged_file"),
    ("palette-of-4-bytes", build(ihdr(color=3), (b"PLTE", bytes(4)), IDAT, IEND), "damaged_file"),
    (
        "palette-too-long-for-depth",
        build(ihdr(depth=1, color=3), (b"PLTE", bytes(9)), IDAT, IEND),
        "damaged_file",
    ),
    ("zlib-without-checksum", build(ihdr(), (b"IDAT", IDAT[1][:-4]), IEND), "damaged_file"),
    ("zlib-wrong-checksum", build(ihdr(), (b"IDAT", IDAT[1][:-1] + b"\0"), IEND), "damaged_file"),
    ("bytes-after-zlib", build(ihdr(), (b"IDAT", IDAT[1] + b"junk"), IEND), "damaged_file"),
    ("not-zlib", build(ihdr(), (b"IDAT", b"junk"), IEND), "damaged_file"),
    ("chunk-longer-than-file", SIGNATURE + b"\x7f\xff\xff\xffIHDR", "damaged_file"),
    ("chunk-type-of-no-letters", build(ihdr(), (b"12#4", b""), IDAT, IEND), "damaged_file"),
    ("full-iend", build(ihdr(), IDAT, (b"IEND", b"x")), "damaged_file"),
    ("100000-chunks", build(ihdr(), *[(b"teXT", b"")] * 100_000, IDAT, IEND), "damaged_file"),
    ("16-bit-rgb", build(ihdr(depth=16, color=2), IDAT, IEND), "not_a_label_mask"),
]


@pytest.mark.parametrize(("data", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(data: bytes, code: str) -> None:
    assert refusal(data).code == code


def test_m27_4096_square_is_accepted() -> None:
    ids = np.tile(IDS, (SIDE, SIDE))
    assert np.array_equal(decode_mask(write_png(ids)).ids, ids)


def test_the_limit_is_the_callers() -> None:
    assert refusal(PLAIN, max_side=63).code == "too_many_pixels"
    assert refusal(PLAIN, min_side=65).code == "mask_too_small"
    assert decode_mask(PLAIN, min_side=64, max_side=64).ids.shape == (64, 64)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.booleans(),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_agrees_with_pypng_on_any_size(
    width: int, height: int, depth: int, interlaced: bool, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 1 << depth, (height, width), dtype=np.uint16)
    data = written(values, greyscale=True, bitdepth=depth, interlace=interlaced)
    _, _, pixels, _ = png.Reader(bytes=data).read()
    read = read_png(data, lambda *_: None)
    assert np.array_equal(read.samples, np.array([list(row) for row in pixels]))
    assert np.array_equal(read.samples, values)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_our_writer_is_read_alike_by_pypng_and_pillow(width: int, height: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    data = write_png(values)
    _, _, pixels, info = png.Reader(bytes=data).read()
    assert np.array_equal(np.array([list(row) for row in pixels]), values)
    assert info["greyscale"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), values)


def test_rgb_and_alpha_channels_come_as_stored() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    for channels in (3, 4):
        out = io.BytesIO()
        Image.fromarray(pixels[:, :, :channels].copy()).save(out, "PNG")
        assert np.array_equal(read_png(out.getvalue(), lambda *_: None).samples, pixels[:, :, :channels])


def test_mutated_files_are_read_or_refused_and_never_warn() -> None:
    rng = np.random.default_rng(1)
    sources = [
        PLAIN,
        written(IDS.astype(np.uint16), greyscale=True, bitdepth=8, interlace=True),
        write_png(IDS, np.zeros((256, 3), np.uint8)),
    ]
    seen = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in sources * 400:
            data = bytearray(source)
            for place in rng.integers(0, len(data), rng.integers(1, 4)):
                data[place] = rng.integers(0, 256)
            try:
                decode_mask(bytes(data))
            except (MaskRefused, UnsupportedFormat) as refused:
                seen.add(refused.code)
    assert "damaged_file" in seen
