"""Intervals against closed forms, IoU against sets of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.bootstrap import bootstrap_iou, draw_samples, intervals, mean_iou
from models.evaluation.scores import class_indices, class_iou, class_weights, confusion

PIXELS = 100_000


def linear(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Confusions (S, T, 2, 2) whose first IoU is `shares` (S, T): all pixels are of the first class.

    Then IoU is hits over pixels, a mean over tiles of one size, and the variance of a bootstrap is known.
    """
    counts = np.zeros((*shares.shape, 2, 2), np.int64)
    counts[..., 0, 0] = np.round(shares * PIXELS)
    counts[..., 0, 1] = PIXELS - counts[..., 0, 0]
    return counts


def test_the_interval_has_the_standard_error_of_a_mean_over_tiles() -> None:
    shares = np.random.default_rng(1).normal(0.6, 0.05, size=(1, 40))
    draws = draw_samples(seeds=1, tiles=40, draws=20_000)
    samples = bootstrap_iou(linear(shares), draws)
    error = shares.std(ddof=1) / np.sqrt(40)
    assert samples[:, 0].std() == pytest.approx(error, rel=0.03)
    interval = intervals(mean_iou(linear(shares)), samples)[0]
    assert interval.value == pytest.approx(shares.mean(), abs=1e-5)
    assert interval.half_width == pytest.approx(1.96 * error, rel=0.05)


def test_seeds_and_tiles_add_their_variances() -> None:
    rng = np.random.default_rng(2)
    by_seed, by_tile = rng.normal(0, 0.03, size=(5, 1)), rng.normal(0, 0.08, size=(1, 30))
    samples = bootstrap_iou(linear(0.5 + by_seed + by_tile), draw_samples(seeds=5, tiles=30, draws=20_000))
    expected = by_seed.var(ddof=1) / 5 + by_tile.var(ddof=1) / 30
    assert samples[:, 0].var() == pytest.approx(expected, rel=0.05)


def test_a_difference_is_paired_so_what_two_arms_share_cancels() -> None:
    rng = np.random.default_rng(3)
    shared = rng.uniform(0.2, 0.8, size=(3, 27))
    draws = draw_samples(seeds=3, tiles=27)
    first, second = linear(shared + 0.1), linear(shared)
    difference = bootstrap_iou(first, draws) - bootstrap_iou(second, draws)
    np.testing.assert_allclose(difference[:, 0], 0.1, atol=1e-4)
    assert bootstrap_iou(second, draws)[:, 0].std() > 0.02


def test_iou_equals_the_definition_on_sets_of_pixels_and_the_mean_skips_absent_classes() -> None:
    rng = np.random.default_rng(0)
    categories = (1, 4, 30)
    labels = rng.choice(np.array([0, 1, 4, 7, 255], np.uint8), size=(20, 30))
    found = rng.integers(0, 2, size=labels.shape).astype(np.uint8)
    judged = np.isin(labels, categories)
    expected = []
    for index, category in enumerate((1, 4)):
        true = {tuple(p) for p in np.argwhere(labels == category)}
        said = {tuple(p) for p in np.argwhere((found == index) & judged)}
        expected.append(len(true & said) / len(true | said))
    counts = confusion(found, labels, categories)
    assert counts.sum() == judged.sum()
    iou = class_iou(counts)
    np.testing.assert_allclose(iou[:2], expected)
    assert np.isnan(iou[2])
    assert mean_iou(counts[None, None])[-1] == pytest.approx(sum(expected) / 2)


def test_indices_and_weights_by_hand() -> None:
    labels = np.array([[4, 4, 4, 4], [9, 0, 255, 1]], np.uint8)
    assert class_indices(labels, (4, 9)).tolist() == [[0, 0, 0, 0], [1, 255, 255, 255]]
    # Shares 4/5 and 1/5: the weights stand as 1 to 2 and have the mean 1.
    np.testing.assert_allclose(class_weights(labels, (4, 9)), [2 / 3, 4 / 3])
