"""Kernel Inception Distance (Bińkowski et al. 2018, arXiv 1801.01401) over the features of any network.

Unbiased at every number of pictures, unlike FID; so it may lie below 0. Values over other features than the same
network's are not comparable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]  # (N, D), a row for each picture


def standardise(features: NDArray[np.floating], reference: NDArray[np.floating]) -> Features:
    """Return features (..., D) with the mean 0 and the deviation 1 that `reference` (N, D) gets by it.

    A feature that is the same in all of `reference` becomes 0.
    """
    mean, deviation = reference.mean(0, dtype=np.float64), reference.std(0, dtype=np.float64)
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return np.asarray((features - mean) * scale, dtype=np.float64)


def polynomial_kernel(one: Features, other: Features) -> NDArray[np.float64]:
    """Return (x . y / D + 1) ** 3 for each row x of `one` (N, D) and y of `other` (M, D).  # (N, M)"""
    return np.asarray((one @ other.T / one.shape[1] + 1) ** 3, dtype=np.float64)


def kid(one: Features, other: Features) -> float:
    """Return the squared maximum mean discrepancy of two samples (N, D) and (M, D), unbiased; N, M >= 2."""
    everyone = (np.ones((1, len(one)), np.bool_), np.ones((1, len(other)), np.bool_))
    return float(subset_kids(one, other, *everyone)[0])


def subset_kids(
    one: Features, other: Features, kept_one: NDArray[np.bool_], kept_other: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return `kid` of each of K pairs of subsets, (K,).

    `kept_one` (K, N) and `kept_other` (K, M) say which rows are in them, two of each sample at least.
    """
    a, b = kept_one.astype(np.float64), kept_other.astype(np.float64)
    counts_a, counts_b = a.sum(1), b.sum(1)  # (K,)
    across = ((a @ polynomial_kernel(one, other)) * b).sum(1) / (counts_a * counts_b)
    within = [
        ((kept @ _without_diagonal(polynomial_kernel(rows, rows))) * kept).sum(1) / (counts * (counts - 1))
        for rows, kept, counts in ((one, a, counts_a), (other, b, counts_b))
    ]
    return np.asarray(within[0] + within[1] - 2 * across, dtype=np.float64)


def _without_diagonal(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    np.fill_diagonal(kernel, 0)
    return kernel


def draw_halves(groups: Sequence[str], *, draws: int, seed: int = 0) -> dict[str, NDArray[np.bool_]]:
    """Return for each group whether it is in each of `draws` random halves of the groups.  # (draws,) each

    Over half of the sample, drawn without replacement, an estimate varies about as much as over samples of the whole
    size: 1 / (n / 2) - 1 / n = 1 / n. Unlike with a bootstrap no picture meets itself, so KID stays unbiased.
    """
    names = sorted(set(groups))
    rng = np.random.default_rng([seed, 30])
    places = rng.permuted(np.tile(np.arange(len(names)), (draws, 1)), axis=1)
    return {name: places[:, column] < len(names) // 2 for column, name in enumerate(names)}


def split_kids(features: Features, *, splits: int, seed: int = 0) -> NDArray[np.float64]:
    """Return `kid` between the halves of random splits of one sample, (splits,): what chance alone makes of it."""
    rng = np.random.default_rng([seed, 31])
    places = rng.permuted(np.tile(np.arange(len(features)), (splits, 1)), axis=1)
    first = places < len(features) // 2
    return subset_kids(features, features, first, ~first)
