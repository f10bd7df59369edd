"""NPY masks: exact or refused. Test ids start with the row of the catalogue of hostile inputs."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import MaskRefused, UnsupportedFormat
from models.masks import decode_mask
from models.npy import read_npy

IDS = (np.arange(20 * 30).reshape(20, 30) % 67).astype(np.uint8)


def saved(array: NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version, allow_pickle=True)
    return out.getvalue()


def with_header(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode("latin-1") + data


def header(descr: str = "'|u1'", shape: str = "(20, 30)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<u4", ">i4", "i1", "<i8", ">u8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)], ids=["v1", "v2", "v3"])
def test_m77_whole_numbers_keep_ids(dtype: str, order: Any, version: tuple[int, int]) -> None:
    data = saved(np.array(IDS, dtype=dtype, order=order), version)
    decoded = decode_mask(data)
    assert np.array_equal(decoded.ids, IDS)
    assert decoded.ids.flags.c_contiguous


def test_m76_bool_is_0_and_1() -> None:
    mask = IDS % 3 == 0
    assert np.array_equal(decode_mask(saved(mask)).ids, mask.astype(np.uint8))


@pytest.mark.parametrize("shape", [(1, 20, 30), (20, 30, 1)], ids=["m81-leading-1", "m81-trailing-1"])
def test_one_channel_is_squeezed(shape: tuple[int, ...]) -> None:
    assert np.array_equal(decode_mask(saved(IDS.reshape(shape))).ids, IDS)


REFUSED: list[tuple[str, bytes, str]] = [
    ("m76-bool-byte-7", with_header(header("'|b1'"), b"\x07" * 600), "damaged_file"),
    ("m78-minus-1", saved(np.where(IDS == 5, -1, IDS.astype(np.int64))), "label_out_of_range"),
    ("m78-2-to-40", saved(np.where(IDS == 5, 2**40, IDS.astype(np.int64))), "label_out_of_range"),
    (
        "m78-uint64-max",
        saved(np.where(IDS == 5, np.uint64(2**64 - 1), IDS.astype(np.uint64))),
        "label_out_of_range",
    ),
    ("m80-float-3.0", saved(np.full((20, 30), 3.0)), "not_a_label_mask"),
    ("m80-float-nan", saved(np.full((20, 30), np.nan)), "not_a_label_mask"),
    ("m81-three-channels", saved(np.zeros((3, 20, 30), np.uint8)), "wrong_shape"),
    ("m82-0-d", saved(np.array(3)), "wrong_shape"),
    ("m82-1-d", saved(np.zeros(100, np.uint8)), "wrong_shape"),
    ("m82-5-d", saved(np.zeros((1, 1, 1, 20, 30), np.uint8)), "wrong_shape"),
    ("m82-0x4", saved(np.zeros((0, 4), np.uint8)), "wrong_shape"),
    ("m85-1000000-square", with_header(header(shape="(1000000, 1000000)"), b"\0"), "too_many_pixels"),
    ("m85-20-digits", with_header(header(shape="(" + "9" * 20 + ", 4)"), b"\0"), "damaged_file"),
    ("m86-unicode", with_header(header("'<U1000000'")), "not_a_label_mask"),
    ("m86-datetime", saved(np.zeros((20, 30), "M8[s]")), "not_a_label_mask"),
    ("m86-void", saved(np.zeros((20, 30), "V4")), "not_a_label_mask"),
    ("m86-structured", saved(np.zeros((20, 30), [("a", "u1"), ("b", "f4")])), "not_a_label_mask"),
    ("m86-complex", saved(np.zeros((20, 30), np.complex64)), "not_a_label_mask"),
    ("m88-trailing", saved(IDS) + b"\0", "trailing_data"),
    ("m89-short", saved(IDS)[:-1], "damaged_file"),
    ("1x1", saved(np.zeros((1, 1), np.uint8)), "mask_too_small"),
    ("magic-only", b"\x93NUMPY", "damaged_file"),
    ("version-9", b"\x93NUMPY\x09\x00" + saved(IDS)[8:], "damaged_file"),
    ("header-cut", saved(IDS)[:40], "damaged_file"),
    ("header-of-4-gb", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "damaged_file"),
    ("header-is-code", with_header("__import__('os').system('true')"), "damaged_file"),
    ("header-nested-deep", with_header("{" * 5000), "damaged_file"),
    ("header-key-missing", with_header("{'descr': '|u1', 'shape': (20, 30), }"), "damaged_file"),
    ("header-key-added", with_header(header()[:-2] + "'x': 'y'}"), "damaged_file"),
    ("negative-shape", with_header(header(shape="(-20, 30)"), bytes(600)), "damaged_file"),
]


@pytest.mark.parametrize(("data", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(data: bytes, code: str) -> None:
    with pytest.raises(MaskRefused) as refused:
        decode_mask(data)
    assert refused.value.code == code


def test_out_of_range_names_the_pixel() -> None:
    ids = IDS.astype(np.int64)
    ids[7, 11] = -4
    with pytest.raises(MaskRefused, match=r"Pixel \(11, 7\) is -4"):
        decode_mask(saved(ids))


class _Canary:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_m83_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    array = np.empty((20, 30), object)
    array[0, 0] = _Canary(canary)
    with pytest.raises(MaskRefused) as refused:
        decode_mask(saved(array))
    assert refused.value.code == "pickle_refused"
    assert not canary.exists()


def test_m84_a_raw_pickle_is_named_and_left_alone(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(UnsupportedFormat, match="pickle"):
        decode_mask(pickle.dumps(_Canary(canary)))
    assert not canary.exists()


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["u1", "<u2", ">i4", "<i8"]),
    st.integers(0, 2**32),
)
@settings(max_examples=50, deadline=None)
def test_agrees_with_numpy_on_any_size(width: int, height: int, dtype: str, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 128, (height, width)).astype(dtype)
    assert np.array_equal(read_npy(saved(array), lambda *_: None), array)


def test_mutated_files_are_read_or_refused() -> None:
    rng = np.random.default_rng(2)
    source = saved(IDS)
    for _ in range(1500):
        data = bytearray(source)
        for place in rng.integers(0, 140, rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        try:
            decode_mask(bytes(data))
        except (MaskRefused, UnsupportedFormat):
            continue
