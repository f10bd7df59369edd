"""What came out: how far pictures follow their masks, how far they are from real ones, and the held-out loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.categories import CATEGORIES
from models.cfcomp.ablation.estimates import Estimate, iou_estimate, kid_estimate, mean_estimate
from models.cfcomp.ablation.runs import HeldOut, Made
from models.evaluation.bootstrap import Interval, draw_samples
from models.evaluation.crops import Crops
from models.evaluation.kid import kid, split_kids, standardise
from models.nano.evaluate import other_masks
from models.nano.export import CATEGORY_IDS
from models.nano.judge import Segmenter as Judge
from models.nano.judge import confusion, judge_images
from models.rfilter.segmenters import Segmenter

_DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Findings:
    """Three measures of each arm, and what to read them by.

    `iou` has a column for each of `names`, the categories and their mean; `kid` and `loss` have one. `floor` is each
    arm's pictures against other tiles' masks, `ceiling` the real pictures against their own; `split` is KID between
    random halves of the real crops, `elsewhere` KID between real crops of the training tiles and the held-out ones.
    `composed` (the share of samples that were composites) and `seconds` of training are means over seeds.
    """

    names: tuple[str, ...]
    iou: dict[str, Estimate]
    floor: dict[str, Estimate]
    ceiling: Estimate
    kid: dict[str, Estimate]
    split: Interval
    elsewhere: float
    loss: dict[str, Estimate]
    composed: dict[str, float]
    seconds: dict[str, float]


def judge_runs(
    runs: Mapping[str, Sequence[Made]],
    held_out: HeldOut,
    *,
    real: Crops,
    elsewhere: Crops,
    judge: Judge,
    segmenter: Segmenter,
) -> Findings:
    """Return what `judge` sees in each arm's pictures, KID over the features of `segmenter`, and the losses.

    `runs` have one entry for each seed, the same seeds in every arm. `real` are all real crops of the held-out tiles,
    `elsewhere` some of the training's.
    """
    scenes, windows = held_out.scenes, held_out.windows
    shuffled = other_masks(scenes.labels, scenes.groups)
    tiles = len(set(scenes.groups))
    seen = {name: [judge_images(judge, one.pictures) for one in some] for name, some in runs.items()}
    seeds = len(next(iter(seen.values())))
    draws = draw_samples(seeds=seeds, tiles=tiles, draws=_DRAWS)
    found = [judge_images(judge, scenes.images)] * seeds

    reference = _features(segmenter, real.images)
    real_rows = standardise(reference, reference)
    made = {
        name: [standardise(_features(segmenter, one.pictures), reference) for one in some]
        for name, some in runs.items()
    }
    chance = split_kids(real_rows, splits=_DRAWS)
    return Findings(
        names=(*(CATEGORIES[number].name for number in CATEGORY_IDS), "mean"),
        iou={n: iou_estimate(_confusions(s, scenes.labels, scenes.groups), draws) for n, s in seen.items()},
        floor={n: iou_estimate(_confusions(s, shuffled, scenes.groups), draws) for n, s in seen.items()},
        ceiling=iou_estimate(_confusions(found, scenes.labels, scenes.groups), draws),
        kid={
            name: kid_estimate(rows, scenes.groups, real_rows, real.groups, draws=_DRAWS)
            for name, rows in made.items()
        },
        split=Interval(float(chance.mean()), *map(float, np.quantile(chance, (0.025, 0.975)))),
        elsewhere=kid(standardise(_features(segmenter, elsewhere.images), reference), real_rows),
        loss={
            name: mean_estimate(np.stack([one.losses for one in some]), windows.groups, draws=_DRAWS)
            for name, some in runs.items()
        },
        composed={name: float(np.mean([one.composed for one in some])) for name, some in runs.items()},
        seconds={name: float(np.mean([one.seconds for one in some])) for name, some in runs.items()},
    )


def _features(segmenter: Segmenter, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the segmenter's feature of each picture, (N, D)."""
    return np.stack([segmenter.believe(picture).feature for picture in pictures])


def _confusions(
    seen: Sequence[NDArray[np.uint8]], masks: NDArray[np.uint8], groups: Sequence[str]
) -> NDArray[np.int64]:
    """Return pixel counts (S, T, C, C) of S answers (N, H, W) against masks (N, H, W), added up by group."""
    names, place = np.unique(groups, return_inverse=True)
    classes = len(CATEGORY_IDS)
    counts = np.zeros((len(seen), len(names), classes, classes), np.int64)
    for row, answers in enumerate(seen):
        for tile, answer, mask in zip(place, answers, masks, strict=True):
            counts[row, tile] += confusion(answer, mask)
    return counts
