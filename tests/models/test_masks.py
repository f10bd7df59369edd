"""Every way a mask is stored, shown and resized; what must hold for any size and any ids."""

from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from models.categories import CATEGORIES, IGNORE
from models.errors import MaskRefused
from models.masks import (
    Encoding,
    SizePolicy,
    category_shares,
    control_image,
    decode_mask,
    encode_png,
    mask_sha256,
    preview_png,
    resize_ids,
)

ASSETS = Path(__file__).parents[1] / "assets"
DUBAI = sorted(ASSETS.glob("dubai_*.png"))


def png_of(pixels: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def two_values(first: int, second: int) -> NDArray[np.uint8]:
    ids = np.full((20, 24), first, np.uint8)
    ids[8:, 5:15] = second
    return ids


ids_arrays = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
    elements=st.sampled_from([*range(67), 255]),
)


@given(ids_arrays)
@settings(max_examples=60, deadline=None)
def test_the_stored_form_is_exact_and_deterministic(ids: NDArray[np.uint8]) -> None:
    data = encode_png(ids)
    read = decode_mask(data, encoding=Encoding.CLASS_ID, ignore=True, min_side=1)
    assert np.array_equal(read.ids, ids)
    assert encode_png(np.asfortranarray(ids)) == data
    assert mask_sha256(ids) == hashlib.sha256(data).hexdigest()


@given(ids_arrays, st.sampled_from(["palette", "rgb", "tiff-free", "npy", "16-bit"]))
@settings(max_examples=60, deadline=None)
def test_every_container_gives_back_the_same_ids(ids: NDArray[np.uint8], container: str) -> None:
    out = io.BytesIO()
    np.save(out, ids)
    data = {
        "palette": preview_png(ids),
        "rgb": png_of(np.repeat(ids[:, :, None], 3, axis=2)),
        "tiff-free": png_of(ids),
        "npy": out.getvalue(),
        "16-bit": png_of(ids.astype(np.uint16)),
    }[container]
    assert np.array_equal(decode_mask(data, ignore=True, min_side=1).ids, ids)


def test_a_tiff_gives_back_the_same_ids() -> None:
    ids = np.asarray(Image.open(DUBAI[0]))
    out = io.BytesIO()
    tifffile.imwrite(out, ids, compression="deflate", predictor=2, metadata=None)
    assert np.array_equal(decode_mask(out.getvalue()).ids, ids)


def test_the_control_image_of_a_storage_tank_holds_exactly_0_and_25() -> None:
    image = control_image(two_values(0, 25))
    assert image.shape == (20, 24, 3)
    assert image.dtype == np.uint8
    assert set(np.unique(image)) == {0, 25}
    assert set(np.unique(control_image(two_values(IGNORE, 25)))) == {0, 25}


def test_the_preview_shows_the_categories_colours() -> None:
    rgb = np.asarray(Image.open(io.BytesIO(preview_png(two_values(8, 6)))).convert("RGB"))
    assert tuple(rgb[0, 0]) == CATEGORIES[8].color
    assert tuple(rgb[9, 9]) == CATEGORIES[6].color


def naive_resize(ids: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Each new pixel takes the old pixel in which its centre lies, in exact fractions."""
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            at_x = (Fraction(x) + Fraction(1, 2)) * ids.shape[1] / width
            at_y = (Fraction(y) + Fraction(1, 2)) * ids.shape[0] / height
            out[y, x] = ids[int(at_y), int(at_x)]
    return out


@given(ids_arrays, st.integers(1, 50), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_resize_is_nearest_and_invents_no_id(ids: NDArray[np.uint8], width: int, height: int) -> None:
    resized = resize_ids(ids, width, height, SizePolicy.RESIZE)
    assert np.array_equal(resized, naive_resize(ids, width, height))
    assert set(np.unique(resized)) <= set(np.unique(ids))
    assert set(np.unique(control_image(resized))) <= set(np.unique(ids)) - {IGNORE} | {0}


@given(ids_arrays, st.integers(1, 50), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_pad_keeps_the_aspect_and_adds_only_background(
    ids: NDArray[np.uint8], width: int, height: int
) -> None:
    padded = resize_ids(ids, width, height, SizePolicy.PAD)
    assert padded.shape == (height, width)
    assert set(np.unique(padded)) <= set(np.unique(ids)) | {0}
    inside = resize_ids(np.ones_like(ids), width, height, SizePolicy.PAD)
    ys, xs = np.nonzero(inside)
    inner_height, inner_width = np.ptp(ys) + 1, np.ptp(xs) + 1
    assert inside.sum() == inner_height * inner_width
    assert inner_width == width or inner_height == height
    scale = min(Fraction(width, ids.shape[1]), Fraction(height, ids.shape[0]))
    assert abs(inner_width - ids.shape[1] * scale) <= 1
    assert abs(inner_height - ids.shape[0] * scale) <= 1


def test_pad_worked_by_hand() -> None:
    ids = np.array([[1, 2], [3, 4]], np.uint8)
    assert resize_ids(ids, 6, 2, SizePolicy.PAD).tolist() == [[0, 0, 1, 2, 0, 0], [0, 0, 3, 4, 0, 0]]


def test_m25_reject_refuses_any_other_size() -> None:
    ids = two_values(0, 4)
    assert np.array_equal(resize_ids(ids, 24, 20, SizePolicy.REJECT), ids)
    with pytest.raises(MaskRefused, match=r"24x20 pixels and 25x20") as refused:
        resize_ids(ids, 25, 20, SizePolicy.REJECT)
    assert refused.value.code == "wrong_size"


def test_shares_count_pixels_and_components() -> None:
    ids = np.zeros((20, 20), np.uint8)
    ids[0:2, 0:5] = 25
    ids[2, 5] = 25  # touches at a corner: the same component
    ids[10:15, 10:20] = 25
    ids[19] = IGNORE
    shares = category_shares(ids)
    assert [(s.id, s.name, s.pixels, s.share, s.components) for s in shares] == [
        (0, "background", 319, 319 / 400, 1),
        (25, "storage tank", 61, 61 / 400, 2),
    ]
