"""KID against sums written out pair by pair, and what chance makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.kid import draw_halves, kid, split_kids, standardise, subset_kids


def naive_kid(one: np.ndarray, other: np.ndarray) -> float:
    """Equation 3 of Gretton et al. 2012 with the cubic kernel, one pair at a time, in Python's own floats."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    n, m = len(one), len(other)
    within_one = sum(kernel(one[i], one[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_other = sum(kernel(other[i], other[j]) for i in range(m) for j in range(m) if i != j)
    across = sum(kernel(x, y) for x in one for y in other)
    return within_one + within_other / (m * (m - 1)) - 2 * across / (n * m)


def test_kid_is_the_sum_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(7, 5)), rng.normal(0.4, 1.3, size=(9, 5))
    assert kid(one, other) == pytest.approx(naive_kid(one, other), rel=1e-10)
    assert kid(other, one) == pytest.approx(kid(one, other), rel=1e-10)
    # Worked by hand: two points each, D = 1. Kernels 1 (0.0), 1 (0.1), 1 (0.1) and 8 (1.1).
    zeros, ones = np.zeros((2, 1)), np.ones((2, 1))
    assert kid(zeros, ones) == pytest.approx(1 + 8 - 2 * 1)


def test_subsets_are_kids_of_the_rows_they_keep() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(8, 3)), rng.normal(size=(6, 3))
    kept_one = np.stack([rng.permutation(8) < count for count in (2, 5, 8)])
    kept_other = np.stack([rng.permutation(6) < count for count in (6, 2, 3)])
    expected = [naive_kid(one[a], other[b]) for a, b in zip(kept_one, kept_other, strict=True)]
    np.testing.assert_allclose(subset_kids(one, other, kept_one, kept_other), expected, rtol=1e-10)


def test_kid_is_unbiased_and_sees_a_shift() -> None:
    rng = np.random.default_rng(2)
    same = [kid(rng.normal(size=(10, 4)), rng.normal(size=(10, 4))) for _ in range(2000)]
    error = np.std(same) / np.sqrt(len(same))
    assert abs(np.mean(same)) < 4 * error
    assert min(same) < 0 < max(same)
    shifted = [kid(rng.normal(size=(10, 4)), rng.normal(1, 1, size=(10, 4))) for _ in range(200)]
    assert np.mean(shifted) > 20 * error


def test_halves_hold_half_the_groups_and_vary_as_whole_samples_do() -> None:
    groups = [f"tile{number // 2}" for number in range(40)]
    halves = draw_halves(groups, draws=3000)
    assert sorted(halves) == sorted(set(groups))
    kept = np.stack(list(halves.values()), axis=1)  # (draws, 20)
    assert set(kept.sum(1)) == {10}
    assert len({row.tobytes() for row in kept}) > 2900
    values = np.random.default_rng(3).normal(size=20)
    over_halves = ((kept * values).sum(1) / 10).std()
    assert over_halves == pytest.approx(values.std(ddof=1) / np.sqrt(20), rel=0.05)


def test_splits_have_two_halves_of_one_sample() -> None:
    features = np.random.default_rng(4).normal(size=(30, 4))
    found = split_kids(features, splits=500)
    assert found.shape == (500,)
    assert np.quantile(found, 0.025) < 0 < np.quantile(found, 0.975)
    # Half of the rows moved far away: a split that happens to part them is far above 0, most are not.
    apart = np.concatenate([features[:2], features[2:4] + 50])
    assert split_kids(apart, splits=200).max() > 100


def test_standard_features_have_mean_0_and_deviation_1_over_the_reference() -> None:
    reference = np.array([[1, 5], [3, 5], [5, 5]], np.float32)
    np.testing.assert_allclose(
        standardise(np.array([[3, 5], [5, 9]], np.float32), reference), [[0, 0], [1.5**0.5, 0]]
    )
