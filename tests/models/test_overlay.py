"""The overlay: half the category's colour where there is one, the picture itself elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from models.categories import CATEGORIES, IGNORE
from models.labels import annotations
from models.overlay import draw_overlay


def scene() -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(0).integers(0, 256, (128, 160, 3), dtype=np.uint8)
    ids = np.zeros((128, 160), np.uint8)
    ids[40:, :] = 6
    ids[80:100, 60:100] = 25
    ids[:5] = IGNORE
    return image, ids


def test_colours_are_blended_and_the_rest_left_alone() -> None:
    image, ids = scene()
    drawn = draw_overlay(image, ids)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn[:40], image[:40])
    for number in (6, 25):
        where = ids == number
        expected = (image[where].astype(float) + CATEGORIES[number].color) / 2
        assert np.abs(drawn[where] - expected).max() <= 0.5


def test_boxes_are_drawn_tight_and_named() -> None:
    image, ids = scene()
    drawn = draw_overlay(image, ids, annotations(ids))
    color = CATEGORIES[25].color
    for y, x in ((80, 60), (99, 60), (80, 99), (99, 99)):
        assert tuple(drawn[y, x]) == color
    changed = np.argwhere((drawn != draw_overlay(image, ids)).any(axis=2))
    assert changed[:, 0].min() < 80  # the name stands above the box
    assert changed[:, 0].max() == 99


def test_a_name_without_room_above_goes_below() -> None:
    ids = np.zeros((128, 160), np.uint8)
    ids[0:6, 150:160] = 25
    image = np.full((128, 160, 3), 90, np.uint8)
    drawn = draw_overlay(image, ids, annotations(ids))
    changed = np.argwhere((drawn != draw_overlay(image, ids)).any(axis=2))
    assert changed[:, 0].max() > 6
    assert changed[:, 1].min() < 150  # moved left, so that it ends inside the picture


def test_the_legend_is_a_strip_below_with_each_colour() -> None:
    image, ids = scene()
    drawn = draw_overlay(image, ids, legend=True)
    assert drawn.shape[0] > 128
    assert drawn.shape[1:] == (160, 3)
    strip = {tuple(color) for color in drawn[128:].reshape(-1, 3).tolist()}
    assert {CATEGORIES[6].color, CATEGORIES[25].color} <= strip
    empty = draw_overlay(image, np.zeros_like(ids), legend=True)
    assert np.array_equal(empty, image)


def test_another_size_is_an_error() -> None:
    image, ids = scene()
    with pytest.raises(ValueError, match="image is"):
        draw_overlay(image, ids[1:])
