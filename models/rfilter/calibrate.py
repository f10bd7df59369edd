"""Thresholds from real pairs: percentiles of what they score, so that nearly all of them pass all rules together."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.categories import caption
from models.pixel_values import unique_values
from models.rfilter.calibration import Calibration, CategoryLimits, Limits, TrainingTiles
from models.rfilter.duplicates import read_feature, read_hash
from models.rfilter.measures import SMALLEST_JUDGED
from models.rfilter.rules import Policy, accepted, judge
from models.rfilter.scorers import Scorers

log = logging.getLogger(__name__)
FEWEST_PAIRS = 20  # of a category: below, its percentiles mean nothing and it gets no thresholds
# Of the real pairs, all rules together. Balanced leaves room for places that the calibration has not seen: the aim
# there is 0.90.
PASS_RATES = Limits(balanced=0.99, strict=0.80)
_LEVELS = (0.0, *np.geomspace(0.001, 0.2, 40).round(5).tolist())  # percentiles that are tried

_SEGMENTER_SCORES = ("recall", "iou", "contrast", "leakage")

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # picture (H, W, 3) and mask (H, W) of category ids


def windows(image: NDArray[np.uint8], mask: NDArray[np.uint8], *, size: int, stride: int) -> Iterator[Pair]:
    """Return all whole squares of `size` pixels, row by row, as copies."""
    for row in range(0, mask.shape[0] - size + 1, stride):
        for column in range(0, mask.shape[1] - size + 1, stride):
            part = np.s_[row : row + size, column : column + size]
            yield image[part].copy(), mask[part].copy()


def calibrate(
    pairs: Sequence[Pair],
    scorers: Scorers,
    *,
    source: str,
    training_windows: Iterable[NDArray[np.uint8]] = (),
) -> Calibration:
    """Return thresholds at which 99 % (strict: 80 %) of the pairs pass R1 to R6 together.

    The pairs must be real, at the size of the pictures to be filtered, and unknown to the segmenter. `source` says
    in words what they are; `training_windows` are pictures of the generator's training set, for R7.
    """
    first = [_score(scorers, pair, None) for pair in pairs]
    loose = _at_levels(first, _mean_losses(first), Limits(balanced=0.0, strict=0.0), scorers, source)
    scores = [_score(scorers, pair, loose) for pair in pairs]  # now with R6
    losses = _mean_losses(scores)
    levels = {
        policy: _highest_level(scores, losses, scorers, policy) for policy in (Policy.BALANCED, Policy.STRICT)
    }
    chosen = Limits(balanced=levels[Policy.BALANCED], strict=levels[Policy.STRICT])
    made = _at_levels(scores, losses, chosen, scorers, source)
    reached = {policy: _pass_rate(scores, made, policy) for policy in levels}
    log.info("levels %s, pass rates %s", levels, reached)
    rates = Limits(balanced=reached[Policy.BALANCED], strict=reached[Policy.STRICT])
    tiles = _training_tiles(training_windows, scorers)
    return made.model_copy(update={"pass_rates": rates, "training_tiles": tiles})


def _score(scorers: Scorers, pair: Pair, calibration: Calibration | None) -> Mapping[str, Any]:
    image, mask = pair
    return scorers.score(image, mask, caption(unique_values(mask)), calibration=calibration).scores


def _mean_losses(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return each category's mean cross-entropy over all its pixels."""
    sums: dict[str, NDArray[np.float64]] = {}
    for one in scores:
        for category, values in one["categories"].items():
            if "loss" in values:
                pixels = np.array([values["share"] * values["loss"], values["share"]])
                sums[category] = sums.get(category, 0) + pixels
    return {category: float(total[0] / total[1]) for category, total in sums.items()}


def _highest_level(
    scores: Sequence[Mapping[str, Any]], losses: Mapping[str, float], scorers: Scorers, policy: Policy
) -> float:
    """The highest percentile at which the wanted share of the pairs still passes."""
    wanted = PASS_RATES.strict if policy is Policy.STRICT else PASS_RATES.balanced
    best = 0.0
    for level in _LEVELS:
        made = _at_levels(scores, losses, Limits(balanced=level, strict=level), scorers, "")
        if _pass_rate(scores, made, policy) >= wanted:
            best = level
    return best


def _pass_rate(scores: Sequence[Mapping[str, Any]], calibration: Calibration, policy: Policy) -> float:
    passed = [accepted(judge(one, calibration, policy)) for one in scores]
    return round(float(np.mean(passed)), 4)


def _at_levels(
    scores: Sequence[Mapping[str, Any]],
    losses: Mapping[str, float],
    levels: Limits,
    scorers: Scorers,
    source: str,
) -> Calibration:
    hardness = [one["hardness"] for one in scores if "hardness" in one]
    return Calibration(
        source=source,
        pairs=len(scores),
        segmenter=scorers.segmenter.digest if scorers.segmenter else None,
        clip=scorers.clip.digest if scorers.clip else None,
        levels=levels,
        pass_rates=Limits(balanced=1.0, strict=1.0),
        categories=_category_limits(scores, losses, levels),
        placement=_least([one["placement"] for one in scores if "placement" in one], levels),
        ignored=_most([one["ignored"] for one in scores if "ignored" in one], levels),
        hardness=(_quantile(hardness, 0.2), _quantile(hardness, 0.95)) if hardness else None,
        training_tiles=None,
    )


def _category_limits(
    scores: Sequence[Mapping[str, Any]], losses: Mapping[str, float], levels: Limits
) -> dict[int, CategoryLimits]:
    values: dict[str, dict[str, list[float]]] = {}
    for one in scores:
        for category, named in one["categories"].items():
            for name, value in named.items():
                if name not in _SEGMENTER_SCORES or named["share"] >= SMALLEST_JUDGED:
                    values.setdefault(category, {}).setdefault(name, []).append(value)
        for region in one.get("regions", ()):
            lists = values.setdefault(str(region["category"]), {})
            lists.setdefault("region_margin", []).append(region["margin"])
            lists.setdefault("region_rank", []).append(region["rank"])
    result = {}
    for category in sorted(values, key=int):
        found = values[category]
        pairs = max(len(listed) for listed in found.values())
        if pairs < FEWEST_PAIRS:
            continue
        result[int(category)] = CategoryLimits(
            pairs=pairs,
            mean_loss=round(losses[category], 4) if category in losses else None,
            recall=_least(found.get("recall", []), levels),
            iou=_least(found.get("iou", []), levels),
            contrast=_least(found.get("contrast", []), levels),
            leakage=_most(found.get("leakage", []), levels),
            image_margin=_least(found.get("margin", []), levels),
            image_rank=_most(found.get("rank", []), levels),
            region_margin=_least(found.get("region_margin", []), levels),
            region_rank=_most(found.get("region_rank", []), levels),
        )
    return result


def _least(values: Sequence[float], levels: Limits) -> Limits | None:
    """Thresholds that all but the lowest share `levels` of the values reach; None for too few values."""
    if len(values) < FEWEST_PAIRS:
        return None
    return Limits(balanced=_quantile(values, levels.balanced), strict=_quantile(values, levels.strict))


def _most(values: Sequence[float], levels: Limits) -> Limits | None:
    """Thresholds that all but the highest share `levels` of the values keep to; None for too few values."""
    if len(values) < FEWEST_PAIRS:
        return None
    return Limits(
        balanced=_quantile(values, 1 - levels.balanced), strict=_quantile(values, 1 - levels.strict)
    )


def _quantile(values: Sequence[float], level: float) -> float:
    return round(float(np.quantile(values, level)), 4)


def _training_tiles(training_windows: Iterable[NDArray[np.uint8]], scorers: Scorers) -> TrainingTiles | None:
    hashes, features = [], []
    for image in training_windows:
        scores = scorers.fingerprint(image)
        value = read_hash(scores)
        if value is not None:
            hashes.append(value)
            features.append(read_feature(scores))
    if not hashes:
        return None
    packed = (np.array(hashes, "<u8").tobytes(), np.stack(features).tobytes())
    texts = [base64.b64encode(part).decode("ascii") for part in packed]
    return TrainingTiles(count=len(hashes), hashes=texts[0], features=texts[1])
