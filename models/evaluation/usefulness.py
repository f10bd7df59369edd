"""The whole measurement: for each seed a small share, its pictures, and one run for each arm."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.acceptance import Acceptance, accept
from models.evaluation.arms import RECIPES, Arm, Source
from models.evaluation.crops import Crops, categories_in, check_disjoint, cut_crops, draw_share
from models.evaluation.pictures import Drawn, draw_conditions, make_pictures
from models.evaluation.runs import run_arm
from models.evaluation.scores import class_weights
from models.model_card import check_categories
from models.nano.evaluate import other_masks
from models.nano.tiles import Tile
from models.rfilter.calibration import Calibration
from models.rfilter.rules import Policy
from models.rfilter.scorers import Scorers
from models.synthesis.pipeline import LoadedPipeline

log = logging.getLogger(__name__)
_REAL = (Source.REAL_SMALL, Source.REAL_FULL)


@dataclass(frozen=True, slots=True)
class Filter:
    """What accepts pictures: scorers, their calibration, a policy, and how often a condition is tried."""

    scorers: Scorers
    calibration: Calibration | None
    policy: Policy
    max_tries: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Confusions (seeds, tiles, true, found) by real share and arm, and counts of crops.

    `acceptances` are the filter's counts by seed; none where no arm has synthetic pictures.
    """

    categories: tuple[int, ...]
    train_crops: int
    mask_crops: int
    small_crops: dict[float, int]
    confusions: dict[float, dict[Arm, NDArray[np.int64]]]
    acceptances: tuple[Acceptance, ...]


def measure(
    train: Sequence[Tile],
    test: Sequence[Tile],
    loaded: LoadedPipeline,
    chosen: Filter,
    *,
    arms: Sequence[Arm],
    seeds: int,
    steps: int,
    pictures: int,
    real_shares: Sequence[float],
    mask_share: float,
    side: int,
    half: int,
    window: int,
    out: Path,
) -> Measured:
    """Return what each arm's segmenters say about the test tiles, for each of the real shares, run by run.

    `side` is that of crops and pictures. Each seed draws `mask_share` of the crops, whose masks the `pictures`
    conditions come from, and of those as many as make a real share of all, whose real pictures are trained on. With
    equal shares the synthetic arms have the masks of their real pictures and no others. `half` windows of `window`
    pixels are half a batch. Pictures and runs that are in `out` already are not made again.

    Raises:
        ValueError: train and test share a tile; tiles smaller than a crop; shares out of range; nothing accepted.
        CategoryMismatch: masks show categories that the model was not trained on.
    """
    if not 0 < min(real_shares) <= max(real_shares) <= mask_share <= 1:
        raise ValueError("shares must be 0 < real share <= mask share <= 1")
    check_disjoint(train, test)
    full = cut_crops(train, side)
    categories = categories_in(full.labels)
    check_categories(loaded.card, categories)
    synthetic = any({RECIPES[arm].first, RECIPES[arm].second} - {*_REAL, None} for arm in arms)
    found: dict[float, dict[Arm, list[NDArray[np.int64]]]] = {
        s: {arm: [] for arm in arms} for s in real_shares
    }
    acceptances: list[Acceptance] = []
    small_crops: dict[float, int] = {}
    for seed in range(seeds):
        masked = draw_share(full, mask_share, seed)
        weights = class_weights(masked.labels, categories)
        sources = {Source.REAL_FULL: full}
        if synthetic:
            made, acceptance = synthetic_sources(
                masked, loaded, chosen, pictures=pictures, seed=seed, folder=out / "pictures"
            )
            sources |= made
            acceptances.append(acceptance)
        for share in real_shares:
            small = draw_share(masked, share / mask_share, seed)
            small_crops[share] = len(small)
            for arm in arms:
                confusions = run_arm(
                    arm,
                    sources | {Source.REAL_SMALL: small},
                    test,
                    categories=categories,
                    weights=weights,
                    seed=seed,
                    steps=steps,
                    half=half,
                    window=window,
                    folder=out / "runs",
                )
                found[share][arm].append(confusions)
    return Measured(
        categories=categories,
        train_crops=len(full),
        mask_crops=round(mask_share * len(full)),
        small_crops=small_crops,
        confusions={
            share: {arm: np.stack(runs) for arm, runs in by_arm.items()} for share, by_arm in found.items()
        },
        acceptances=tuple(acceptances),
    )


def synthetic_sources(
    masked: Crops, loaded: LoadedPipeline, chosen: Filter, *, pictures: int, seed: int, folder: Path
) -> tuple[dict[Source, Crops], Acceptance]:
    """Return the three synthetic sources of one seed, and what the filter did.

    The unfiltered one is every condition's first try; the filtered one tries rejected conditions again; the
    shuffled one has the filtered pictures, each with a label of another tile.
    """
    drawn = draw_conditions(masked.labels, count=pictures, seed=seed, allowed=loaded.card.category_ids)
    make = _maker(loaded, seed=seed, folder=folder)
    unfiltered = Crops(
        np.stack(make(drawn, 0)),
        np.stack([one.condition.mask for one in drawn]),
        tuple(masked.groups[one.parent] for one in drawn),
    )
    acceptance = accept(
        drawn,
        masked.groups,
        make,
        scorers=chosen.scorers,
        calibration=chosen.calibration,
        policy=chosen.policy,
        max_tries=chosen.max_tries,
    )
    log.info("seed %d: %d of %d conditions accepted", seed, len(acceptance.crops), pictures)
    filtered = acceptance.crops
    shuffled = Crops(filtered.images, other_masks(filtered.labels, filtered.groups, seed), filtered.groups)
    return {
        Source.SYNTHETIC: filtered,
        Source.SHUFFLED: shuffled,
        Source.UNFILTERED: unfiltered,
    }, acceptance


def _maker(
    loaded: LoadedPipeline, *, seed: int, folder: Path
) -> Callable[[Sequence[Drawn], int], list[NDArray[np.uint8]]]:
    def make(drawn: Sequence[Drawn], attempt: int) -> list[NDArray[np.uint8]]:
        conditions = [one.condition for one in drawn]
        return make_pictures(loaded, conditions, seed=seed, attempt=attempt, folder=folder)

    return make
