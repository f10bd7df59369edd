"""The proof at toy size: faults planted in toy places are caught, and the places themselves pass."""

from __future__ import annotations

import numpy as np
import pytest

from models.nano.tiles import Tile
from models.rfilter.calibrate import calibrate, windows
from models.rfilter.calibration import Calibration
from models.rfilter.planted_faults import (
    LEAST_CHANGED,
    Case,
    judge_case,
    permuted_mask,
    plant,
    report_passes,
    saturated,
    shifted_masks,
)
from models.rfilter.rules import accepted
from models.rfilter.scorers import Scorers
from tests.models.rfilter.scenes import ColorSegmenter, toy_tile

SCORERS = Scorers(ColorSegmenter())


@pytest.fixture(scope="module")
def tiles() -> list[Tile]:
    return [toy_tile(f"t{seed}", seed, 384) for seed in range(6)]


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    pairs = [
        pair
        for seed in range(100, 106)
        for tile in [toy_tile(f"c{seed}", seed, 512)]
        for pair in windows(tile.image, tile.mask, size=256, stride=256)
    ]
    return calibrate(pairs, SCORERS, source="toys")


@pytest.fixture(scope="module")
def cases(tiles: list[Tile]) -> dict[str, list[Case]]:
    return plant(tiles, np.random.default_rng(0))


@pytest.mark.parametrize("fault", ["shifted mask", "wrong class", "blank", "NaN", "saturated", "duplicate"])
def test_planted_faults_are_rejected(
    fault: str, cases: dict[str, list[Case]], calibration: Calibration
) -> None:
    found = [accepted(judge_case(case, SCORERS, calibration)[0]) for case in cases[fault]]
    assert len(found) >= 5
    assert np.mean(found) <= 0.05


def test_leaked_objects_are_rejected_or_become_255(
    cases: dict[str, list[Case]], calibration: Calibration
) -> None:
    leaked = [case for name, planted in cases.items() if name.startswith("leaked") for case in planted]
    assert len(leaked) >= 10
    for case in leaked:
        verdicts, neutralised = judge_case(case, SCORERS, calibration)
        assert neutralised or not accepted(verdicts)


def test_places_without_a_fault_pass(tiles: list[Tile], calibration: Calibration) -> None:
    pairs = [
        (tile.name, pair) for tile in tiles for pair in windows(tile.image, tile.mask, size=256, stride=256)
    ]
    first = next(report_passes("toys", pairs, SCORERS, calibration))
    passed = int(first.split(": ")[1].split(" of ")[0])
    assert passed >= 0.8 * len(pairs)


def test_what_is_planted_is_what_it_says(tiles: list[Tile], cases: dict[str, list[Case]]) -> None:
    tile = tiles[0]
    for image, mask in shifted_masks(tile, np.random.default_rng(0)):
        assert np.mean(mask != tile.mask[:256, :256]) >= LEAST_CHANGED
        np.testing.assert_array_equal(image, tile.image[:256, :256])
    ids = [1, 4, 5, 6, 8]
    assert (permuted_mask(tile.mask, ids, np.random.default_rng(0)) != tile.mask).all()
    assert (saturated(tile.image) == 255).all(-1).mean() > 0.6
    for case in cases["leaked building"]:
        assert case.where is not None
        assert not (case.mask[case.where] == 8).any()
        assert 0.04 <= case.where.mean() <= 0.25
