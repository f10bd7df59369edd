"""Values of arms and their contrasts against formulas written out, and what their intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from models.cfcomp.ablation.arms import ARMS, CONTRASTS, START
from models.cfcomp.ablation.estimates import contrast, iou_estimate, kid_estimate, mean_estimate
from models.cfcomp.recipe import recipe_for
from models.evaluation.bootstrap import draw_samples
from models.evaluation.kid import kid


def test_arms_of_a_seed_differ_in_p_and_lambda_alone() -> None:
    common = recipe_for("nano", {"steps": 7, "single_category": 0.3})
    documents = [arm.recipe(common, 5).model_dump() for arm in ARMS]
    settings = {(one["cf_comp"].pop("probability"), one.pop("local_loss_weight")) for one in documents}
    assert settings == {(0, 0), (0, 1), (0.5, 0), (0.5, 1)}
    assert all(one == documents[0] for one in documents)
    assert documents[0]["seed"] == 5
    assert len({arm.recipe(common, 5).digest for arm in ARMS}) == len(ARMS)


def test_contrasts_are_between_arms_and_cancel_what_all_share() -> None:
    known = {START, *(arm.name for arm in ARMS)}
    for weights in CONTRASTS.values():
        assert set(weights) <= known
        assert sum(weights.values()) == 0
        assert sum(abs(weight) for weight in weights.values()) == 2


def test_a_mean_counts_values_and_draws_groups() -> None:
    groups = [f"tile{number // 3}" for number in range(60)]
    rng = np.random.default_rng(0)
    of_tile = np.repeat(rng.normal(size=20), 3)  # what crops of one tile share
    values = np.stack([of_tile + offset for offset in (0.0, 0.0, 0.0)])
    found = mean_estimate(values, groups, draws=4000)
    assert found.value == pytest.approx([of_tile.mean()])
    assert found.by_seed.shape == (3, 1)
    # The standard error of a mean over 20 independent tiles, not over 60 crops.
    assert found.samples.std() == pytest.approx(of_tile.std(ddof=1) * np.sqrt(60 / 59) / np.sqrt(20), rel=0.1)
    # Seeds that differ widen it, though every value of one seed is the same.
    apart = mean_estimate(np.repeat([[0.0], [3.0], [6.0]], 60, axis=1), groups, draws=4000)
    assert apart.value == pytest.approx([3])
    assert apart.by_seed[:, 0].tolist() == [0, 3, 6]
    assert apart.samples.std() == pytest.approx(3 / np.sqrt(3), rel=0.05)


def test_what_all_arms_share_cancels_in_a_contrast() -> None:
    rng = np.random.default_rng(1)
    groups = [f"tile{number}" for number in range(12)]
    common = rng.normal(size=(3, 12))
    estimates = {
        name: mean_estimate(common + more, groups, draws=500) for name, more in (("a", 0.25), ("b", 0.0))
    }
    found = contrast(estimates, {"a": 1, "b": -1})
    assert found.value == pytest.approx([0.25])
    np.testing.assert_allclose(found.samples, 0.25)
    np.testing.assert_allclose(found.by_seed, 0.25)
    (interval,) = found.intervals
    assert (interval.low, interval.high) == pytest.approx((0.25, 0.25))


def test_iou_is_taken_over_all_tiles_of_a_seed() -> None:
    counts = np.array([[[[3, 1], [0, 4]], [[1, 1], [2, 0]]], [[[8, 0], [0, 4]], [[2, 0], [0, 1]]]], np.int64)
    found = iou_estimate(counts, draw_samples(seeds=2, tiles=2, draws=100))
    # Seed 0: hits 4 of 4 + 2 + 2, and 4 of 4 + 2 + 2; seed 1: everything right.
    np.testing.assert_allclose(found.by_seed, [[0.5, 0.5, 0.5], [1, 1, 1]])
    np.testing.assert_allclose(found.value, [0.75, 0.75, 0.75])
    assert found.samples.shape == (100, 3)


def test_kid_is_averaged_over_seeds_and_near_ones_are_told_from_far_ones() -> None:
    rng = np.random.default_rng(2)
    groups = [f"tile{number // 2}" for number in range(24)]
    real = rng.normal(size=(24, 6))
    near = [rng.normal(size=(24, 6)) for _ in range(3)]
    far = [rows + 1 for rows in near]
    estimates = {
        name: kid_estimate(rows, groups, real, groups, draws=500)
        for name, rows in (("near", near), ("far", far))
    }
    assert estimates["near"].value == pytest.approx([np.mean([kid(rows, real) for rows in near])])
    assert estimates["near"].by_seed.shape == (3, 1)
    (difference,) = contrast(estimates, {"far": 1, "near": -1}).intervals
    assert 0 < difference.low < difference.value < difference.high
    (chance,) = estimates["near"].intervals
    assert chance.low < 0 < chance.high
