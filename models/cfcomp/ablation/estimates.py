"""A measure of an arm with its bootstrap samples, so that arms can be added and subtracted; see `Contrast`s in arms.

The units are seeds, and tiles: crops of one tile are not independent. All arms get the same draws, so what they share
cancels in their differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.bootstrap import Draws, Interval, bootstrap_iou, draw_samples, intervals, mean_iou
from models.evaluation.kid import Features, draw_halves, kid, subset_kids

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` (columns,), its bootstrap `samples` (draws, columns) and its value `by_seed` (S, columns)."""

    value: Rows
    samples: Rows
    by_seed: Rows

    @property
    def intervals(self) -> list[Interval]:
        """One 95 % interval for each column."""
        return intervals(self.value, self.samples)


def contrast(estimates: Mapping[str, Estimate], weights: Mapping[str, float]) -> Estimate:
    """Return the weighted sum of arms, which have the same draws and seeds."""
    return Estimate(
        value=np.asarray(sum(weight * estimates[name].value for name, weight in weights.items())),
        samples=np.asarray(sum(weight * estimates[name].samples for name, weight in weights.items())),
        by_seed=np.asarray(sum(weight * estimates[name].by_seed for name, weight in weights.items())),
    )


def iou_estimate(confusions: NDArray[np.int64], draws: Draws) -> Estimate:
    """Return IoU of each class, then their mean, of confusions (S, T, C, C)."""
    by_seed = np.stack([mean_iou(confusions[seed : seed + 1]) for seed in range(len(confusions))])
    return Estimate(mean_iou(confusions), bootstrap_iou(confusions, draws), by_seed)


def mean_estimate(values: Rows, groups: Sequence[str], *, draws: int) -> Estimate:
    """Return the mean of values (S, N), of which those of one group are drawn together; one column."""
    names, place = np.unique(groups, return_inverse=True)
    drawn = draw_samples(seeds=len(values), tiles=len(names), draws=draws)
    counts = np.bincount(place)  # (T,)
    sums = np.stack([np.bincount(place, weights=row) for row in values])  # (S, T)
    of_tiles = (drawn.tiles @ sums.T) / (drawn.tiles @ counts)[:, None]  # (draws, S)
    samples = (of_tiles * _shares(drawn.seeds)).sum(1)
    by_seed = values.mean(1)
    return Estimate(np.array([by_seed.mean()]), samples[:, None], by_seed[:, None])


def kid_estimate(
    made: Sequence[Features],
    made_groups: Sequence[str],
    real: Features,
    real_groups: Sequence[str],
    *,
    draws: int,
) -> Estimate:
    """Return the mean over seeds of KID between what each made, S times (N, D), and real (M, D); one column.

    The samples are KIDs over random halves of the groups, the same halves of both sides.
    """
    halves = draw_halves([*made_groups, *real_groups], draws=draws)
    kept_made = np.stack([halves[group] for group in made_groups], axis=1)  # (draws, N)
    kept_real = np.stack([halves[group] for group in real_groups], axis=1)  # (draws, M)
    of_halves = np.stack([subset_kids(some, real, kept_made, kept_real) for some in made], axis=1)
    seeds = draw_samples(seeds=len(made), tiles=1, draws=draws).seeds
    samples = (of_halves * _shares(seeds)).sum(1)
    by_seed = np.array([kid(some, real) for some in made])
    return Estimate(np.array([by_seed.mean()]), samples[:, None], by_seed[:, None])


def _shares(seeds: NDArray[np.int64]) -> Rows:
    return np.asarray(seeds / seeds.sum(1, keepdims=True), dtype=np.float64)
