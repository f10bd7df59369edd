"""R7 on hashes and features made by hand."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
import pytest

from models.rfilter.calibration import Calibration, Limits, TrainingTiles
from models.rfilter.duplicates import Seen
from models.rfilter.rules import Policy


def scores(value: int, feature: list[int] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"hash": f"{value:016x}"}
    if feature is not None:
        found["feature"] = base64.b64encode(np.array(feature, np.int8).tobytes()).decode()
    return found


NORTH, NORTH_EAST, EAST = [0, 100], [90, 100], [100, 0]  # cosines with NORTH: 1, 0.74, 0


@pytest.mark.parametrize(
    ("bits", "feature", "passed"),
    [
        (0b1111, NORTH, False),
        (0b11111, NORTH, True),
        (0b1111, NORTH_EAST, True),
        (0, EAST, True),
        (0, None, False),
    ],
)
def test_a_near_duplicate_is_near_in_hash_and_in_feature(
    bits: int, feature: list[int] | None, passed: bool
) -> None:
    seen = Seen()
    seen.add(scores(0, NORTH), "a")
    found = seen.check(scores(bits, feature), "b")
    assert found.passed is passed
    assert found.score == bits.bit_count()
    assert found.threshold == 4


def test_the_first_sample_has_nothing_to_compare_with() -> None:
    assert Seen().check(scores(0), "a").passed is True


def test_samples_of_one_mask_are_compared_for_diversity_only() -> None:
    seen = Seen()
    assert seen.diversity() is None
    for value in (0b0, 0b11, 0b1111):
        assert seen.check(scores(value, NORTH), "a").passed is True
        seen.add(scores(value, NORTH), "a")
    seen.add(scores(2**63, NORTH), "b")
    assert seen.diversity() == pytest.approx((2 + 4 + 2) / 3)
    assert len(seen) == 4


def test_training_tiles_count_but_are_no_samples() -> None:
    hashes = np.array([7, 2**64 - 1], "<u8")
    features = np.array([NORTH, EAST], np.int8)
    tiles = TrainingTiles(
        count=2,
        hashes=base64.b64encode(hashes.tobytes()).decode(),
        features=base64.b64encode(features.tobytes()).decode(),
    )
    same = Limits(balanced=0.0, strict=0.0)
    seen = Seen(
        Calibration(source="", pairs=0, levels=same, pass_rates=same, categories={}, training_tiles=tiles)
    )
    assert len(seen) == 0
    found = seen.check(scores(2**64 - 2, EAST), "a")
    assert (found.passed, found.score) == (False, 1.0)
    assert "training tile" in found.detail
    assert seen.check(scores(2**64 - 2, NORTH), "a").passed is True


def test_policies_and_thresholds() -> None:
    near = scores(0b111111, NORTH)
    for seen, passed in (
        (Seen(policy=Policy.BALANCED), True),
        (Seen(policy=Policy.STRICT), False),
        (Seen(policy=Policy.OFF), None),
        (Seen(thresholds={"near_duplicate": 6}), False),
        (Seen(policy=Policy.STRICT, thresholds={"near_duplicate": None}), None),
    ):
        seen.add(scores(0, NORTH), "a")
        assert seen.check(near, "b").passed is passed


def test_a_picture_without_hash_is_unknown_and_not_remembered() -> None:
    seen = Seen()
    seen.add({}, "a")
    assert len(seen) == 0
    assert seen.check({}, "b").passed is None


def test_distances_equal_the_naive_count_and_are_quick_among_a_hundred_thousand() -> None:
    rng = np.random.default_rng(0)
    values = [int(value) for value in rng.integers(0, 2**64, size=100_000, dtype=np.uint64)]
    features = rng.integers(-127, 128, size=(100_000, 64)).astype(np.int8)
    seen = Seen()
    for index, value in enumerate(values):
        packed = base64.b64encode(features[index].tobytes()).decode()
        seen._append(np.uint64(value), np.frombuffer(base64.b64decode(packed), np.int8), index)
    asked = int(rng.integers(0, 2**64, dtype=np.uint64))
    began = time.process_time()
    found = [seen.check(scores(asked), "x") for _ in range(20)]
    assert (time.process_time() - began) / 20 < 0.01
    assert found[0].score == min((value ^ asked).bit_count() for value in values)
