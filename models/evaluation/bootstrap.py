"""Intervals: a bootstrap over seeds and test tiles at once, the same draws for every arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.scores import class_iou

Samples = NDArray[np.float64]  # (draws, C + 1): IoU of each class, then their mean


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the 2.5 % and 97.5 % quantiles of its bootstrap distribution."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True)
class Draws:
    """How often each seed (draws, S) and each tile (draws, T) is in each bootstrap sample."""

    seeds: NDArray[np.int64]
    tiles: NDArray[np.int64]


def draw_samples(*, seeds: int, tiles: int, draws: int = 4000, seed: int = 0) -> Draws:
    """Return which seeds and tiles each bootstrap sample holds, drawn with replacement, independently.

    One fewer is drawn than there are (Rao and Wu 1988): the plain bootstrap's variance is too small by
    (n - 1) / n, a third for three seeds.
    """
    rng = np.random.default_rng(seed)

    def counts(units: int) -> NDArray[np.int64]:
        return rng.multinomial(max(1, units - 1), np.full(units, 1 / units), size=draws)

    return Draws(seeds=counts(seeds), tiles=counts(tiles))


def mean_iou(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return IoU (C + 1,) of confusions (S, T, C, C): each class, then their mean, averaged over seeds.

    Tiles are added up before IoU is taken; classes that no tile has are left out of the mean.
    """
    return np.asarray(_with_mean(class_iou(confusions.sum(1))).mean(0), dtype=np.float64)


def bootstrap_iou(confusions: NDArray[np.int64], draws: Draws) -> Samples:
    """Return `mean_iou` of every bootstrap sample of confusions (S, T, C, C)."""
    seeds, tiles, classes, _ = confusions.shape
    by_seed = np.stack(
        [
            _with_mean(
                class_iou((draws.tiles @ confusions[s].reshape(tiles, -1)).reshape(-1, classes, classes))
            )
            for s in range(seeds)
        ]
    )  # (S, draws, C + 1)
    shares = draws.seeds / draws.seeds.sum(1, keepdims=True)  # (draws, S)
    return np.asarray(np.einsum("ds,sdc->dc", shares, by_seed), dtype=np.float64)


def intervals(value: NDArray[np.float64], samples: Samples) -> list[Interval]:
    """Return one 95 % interval for each column: percentiles of the samples around `value` (C + 1,)."""
    low, high = np.nanquantile(samples, (0.025, 0.975), axis=0)
    return [Interval(float(v), float(a), float(b)) for v, a, b in zip(value, low, high, strict=True)]


def _with_mean(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., C) to (..., C + 1), the mean of the classes that are there at the end."""
    there = ~np.isnan(iou)
    mean = np.where(there, iou, 0).sum(-1) / np.maximum(there.sum(-1), 1)
    return np.concatenate([iou, mean[..., None]], axis=-1)
