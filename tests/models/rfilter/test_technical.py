"""R1's numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from models.rfilter.technical import as_uint8, perceptual_hash, technical_scores


def grey(values: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    return np.repeat(np.array(values, np.uint8).reshape(1, -1, 1), 3, axis=2)


def test_entropy_of_equal_shares_is_the_number_of_bits() -> None:
    scores = technical_scores(grey([10, 20, 30, 40, 50, 60, 70, 80]), (1, 8))
    assert scores == {"finite": True, "size_matches": True, "constant": False, "entropy": 3.0, "clipped": 0.0}


def test_clipped_pixels_are_pure_black_or_pure_white() -> None:
    picture = grey([0, 255, 255, 128])
    picture[0, 2] = (255, 255, 250)  # bright, not clipped
    assert technical_scores(picture, (1, 4))["clipped"] == 0.5


def test_one_colour_is_constant_and_another_size_is_seen() -> None:
    scores = technical_scores(np.full((8, 8, 3), (10, 20, 30), np.uint8), (8, 9))
    assert (scores["constant"], scores["entropy"], scores["size_matches"]) == (True, 0.0, False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_enough(bad: float) -> None:
    picture = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
    assert technical_scores(picture, (16, 16))["finite"] is True
    picture[3, 4, 1] = bad
    assert technical_scores(picture, (16, 16))["finite"] is False


def test_floats_are_taken_as_shares_of_white() -> None:
    np.testing.assert_array_equal(as_uint8(np.array([-0.1, 0.0, 0.5, 1.0, 2.0])), [0, 0, 128, 255, 255])


def test_a_resized_copy_has_nearly_the_same_hash_and_another_picture_has_not() -> None:
    rng = np.random.default_rng(0)
    first = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    second = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    copy = np.asarray(Image.fromarray(first).resize((200, 200)))
    bits = [int(perceptual_hash(picture), 16) for picture in (first, copy, second)]
    assert (bits[0] ^ bits[1]).bit_count() <= 4
    assert (bits[0] ^ bits[2]).bit_count() > 16
