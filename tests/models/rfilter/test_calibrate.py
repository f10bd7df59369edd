"""Thresholds from toy pairs: percentiles against numpy's, the share that passes, and the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.errors import ModelUnavailable
from models.rfilter.calibrate import PASS_RATES, Pair, calibrate, windows
from models.rfilter.calibration import Calibration, load_calibration
from models.rfilter.duplicates import Seen
from models.rfilter.rules import Policy, accepted, judge
from models.rfilter.scorers import Scorers
from tests.models.rfilter.scenes import ColorSegmenter, toy_mask, toy_picture

SCORERS = Scorers(ColorSegmenter())


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Sixty pairs of 128 px: one mask whose pictures become grainier, and so agree less and less."""
    rng = np.random.default_rng(0)
    mask = toy_mask(rng, 128)
    return [(toy_picture(mask, rng, grain=15 + 2 * index), mask) for index in range(60)]


@pytest.fixture(scope="module")
def calibration(pairs: list[Pair]) -> Calibration:
    return calibrate(pairs, SCORERS, source="toys", training_windows=[image for image, _ in pairs[:3]])


def test_the_wanted_share_of_the_pairs_passes_all_rules_together(
    pairs: list[Pair], calibration: Calibration
) -> None:
    scores = [SCORERS.score(*pair, "", calibration=calibration).scores for pair in pairs]
    for policy, wanted in ((Policy.BALANCED, PASS_RATES.balanced), (Policy.STRICT, PASS_RATES.strict)):
        passed = np.mean([accepted(judge(one, calibration, policy)) for one in scores])
        assert passed >= wanted
        assert passed == pytest.approx(getattr(calibration.pass_rates, policy.value), abs=1e-4)
    assert calibration.levels.strict > calibration.levels.balanced


def test_thresholds_are_percentiles_of_the_categorys_own_scores(
    pairs: list[Pair], calibration: Calibration
) -> None:
    scores = [SCORERS.score(*pair, "").scores["categories"] for pair in pairs]
    for number, limits in calibration.categories.items():
        found = [one[str(number)] for one in scores if str(number) in one]
        assert limits.pairs == len(found)
        losses, weights = [one["loss"] for one in found], [one["share"] for one in found]
        assert limits.mean_loss == pytest.approx(np.average(losses, weights=weights), abs=2e-4)
        judged = [one for one in found if one["share"] >= 0.05]
        assert limits.iou is not None
        assert limits.leakage is not None
        level = calibration.levels.strict
        assert limits.iou.strict == pytest.approx(
            np.quantile([one["iou"] for one in judged], level), abs=1e-4
        )
        expected = np.quantile([one["leakage"] for one in judged], 1 - level)
        assert limits.leakage.strict == pytest.approx(expected, abs=1e-4)


def test_training_windows_are_recognised(pairs: list[Pair], calibration: Calibration) -> None:
    seen = Seen(calibration)
    other = toy_picture(toy_mask(np.random.default_rng(7), 128), np.random.default_rng(7))
    assert seen.check(SCORERS.fingerprint(pairs[1][0]), "any").passed is False
    assert seen.check(SCORERS.fingerprint(other), "any").passed is True


def test_a_category_seen_too_rarely_gets_no_thresholds() -> None:
    rng = np.random.default_rng(1)
    masks = [toy_mask(rng, 64) for _ in range(22)]
    for mask in masks[3:]:
        mask[mask == 6] = 1
    made = calibrate([(toy_picture(mask, rng), mask) for mask in masks], SCORERS, source="toys")
    assert 6 not in made.categories
    assert 1 in made.categories


def test_the_file_comes_back_and_a_damaged_one_is_refused(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(calibration.model_dump_json(exclude_none=True))
    assert load_calibration(path) == calibration
    path.write_text("{}")
    with pytest.raises(ModelUnavailable) as refused:
        load_calibration(path)
    assert refused.value.code == "calibration_unreadable"
    with pytest.raises(ModelUnavailable):
        load_calibration(tmp_path / "absent.json")


def test_windows_are_whole_squares() -> None:
    mask = np.arange(50 * 70, dtype=np.uint32).reshape(50, 70).astype(np.uint8)
    image = np.repeat(mask[..., None], 3, axis=2)
    found = list(windows(image, mask, size=20, stride=15))
    assert len(found) == 3 * 4
    np.testing.assert_array_equal(found[5][1], mask[15:35, 15:35])
    np.testing.assert_array_equal(found[5][0][..., 0], mask[15:35, 15:35])
