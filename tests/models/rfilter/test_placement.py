"""The fit of a mask against its fit elsewhere: signs on toy places, and R-squared against a naive formula."""

from __future__ import annotations

import numpy as np

from models.rfilter.placement import _explained_variance, placement
from tests.models.rfilter.scenes import toy_tile


def test_a_mask_in_its_place_fits_better_than_anywhere_and_a_shifted_one_worse() -> None:
    for seed in range(6):
        tile = toy_tile("t", seed)
        image = tile.image[64:320, 64:320]
        assert placement(image, tile.mask[64:320, 64:320]) > 0.1
        for rows, columns in ((64, 128), (128, 64), (128, 128), (0, 64)):
            assert placement(image, tile.mask[rows : rows + 256, columns : columns + 256]) < -0.1


def test_light_and_tint_do_not_matter() -> None:
    tile = toy_tile("t", 1, 256)
    darker = (tile.image * np.array([0.5, 0.4, 0.6])).astype(np.uint8)
    assert abs(placement(darker, tile.mask) - placement(tile.image, tile.mask)) < 0.05


def test_nothing_can_be_told_from_one_category_or_a_picture_of_one_colour() -> None:
    tile = toy_tile("t", 2, 256)
    assert placement(tile.image, np.full((256, 256), 6, np.uint8)) == 0.0
    assert abs(placement(np.full_like(tile.image, 90), tile.mask)) < 1e-3


def test_pictures_that_are_not_square() -> None:
    tile = toy_tile("t", 3)
    assert placement(tile.image[:200, :500], tile.mask[:200, :500]) > 0.1


def test_explained_variance_equals_the_sum_over_moved_cells() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 30, 32)).astype(np.float32)
    labels = rng.integers(0, 3, size=(30, 32))
    shares = np.stack([labels == c for c in range(3)]).astype(np.float32)
    explained, overlap = _explained_variance(features, shares)
    for down, right in ((0, 0), (5, -7), (-3, 11)):
        cells = [
            (labels[y, x], features[:, y + down, x + right])
            for y in range(30)
            for x in range(32)
            if 0 <= y + down < 30 and 0 <= x + right < 32
        ]
        values = np.array([value for _, value in cells], np.float64)
        groups = np.array([label for label, _ in cells])
        total = ((values - values.mean(0)) ** 2).sum()
        between = sum(
            (groups == c).sum() * ((values[groups == c].mean(0) - values.mean(0)) ** 2).sum()
            for c in range(3)
        )
        np.testing.assert_allclose(explained[24 + down, 24 + right], between / total, rtol=1e-3)
        np.testing.assert_allclose(overlap[24 + down, 24 + right], len(cells) / (30 * 32), rtol=1e-5)
