"""Verdicts on hand-made scores: each rule's threshold, its unknowns, the policies and thresholds by request."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from models.rfilter.calibration import Calibration, CategoryLimits, Limits
from models.rfilter.rules import Policy, RuleName, Verdict, accepted, judge

ROAD, BUILDING = "4", "8"
GOOD: dict[str, Any] = {
    "version": 1,
    "finite": True,
    "size_matches": True,
    "constant": False,
    "entropy": 6.5,
    "clipped": 0.02,
    "segmenter": "5e9",
    "clip": "c11b",
    "placement": 0.05,
    "ignored": 0.1,
    "hardness": 0.6,
    "categories": {
        ROAD: {
            "share": 0.1,
            "recall": 0.6,
            "iou": 0.5,
            "contrast": 1.0,
            "leakage": 0.1,
            "rank": 2,
            "margin": 0.01,
        },
        BUILDING: {
            "share": 0.2,
            "recall": 0.7,
            "iou": 0.6,
            "contrast": 2.0,
            "leakage": 0.2,
            "rank": 1,
            "margin": 0.03,
        },
    },
    "regions": [
        {"category": 8, "box": [0, 0, 40, 40], "rank": 1, "margin": 0.02},
        {"category": 8, "box": [90, 0, 40, 40], "rank": 9, "margin": -0.2},
    ],
}


def limits(balanced: float, strict: float) -> Limits:
    return Limits(balanced=balanced, strict=strict)


def category(iou: float) -> CategoryLimits:
    return CategoryLimits(
        pairs=100,
        mean_loss=0.5,
        recall=limits(0.3, 0.4),
        iou=limits(iou, iou + 0.1),
        contrast=limits(0.2, 0.5),
        leakage=limits(0.5, 0.3),
        image_margin=limits(0.0, 0.005),
        image_rank=limits(5, 3),
        region_margin=limits(-0.05, 0.0),
        region_rank=limits(6, 4),
    )


CALIBRATION = Calibration(
    source="by hand",
    pairs=100,
    segmenter="5e9",
    clip="c11b",
    levels=limits(0.01, 0.05),
    pass_rates=limits(0.95, 0.8),
    categories={4: category(0.2), 8: category(0.3)},
    placement=limits(-0.02, 0.0),
    ignored=limits(0.5, 0.3),
    hardness=(0.2, 1.0),
)


def changed(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(GOOD) | changes


def with_category(number: str, **changes: Any) -> dict[str, Any]:
    scores = copy.deepcopy(GOOD)
    scores["categories"][number] |= changes
    return scores


def verdict(
    rule: RuleName, scores: dict[str, Any], policy: Policy = Policy.BALANCED, **request: Any
) -> Verdict:
    found = {one.rule: one for one in judge(scores, CALIBRATION, policy, request or {})}
    return found[rule]


def test_a_good_picture_passes_every_rule_in_their_order() -> None:
    verdicts = judge(GOOD, CALIBRATION, Policy.STRICT)
    assert [one.rule for one in verdicts] == [rule for rule in RuleName if rule != RuleName.NEAR_DUPLICATE]
    assert [one.passed for one in verdicts] == [True] * 7
    assert accepted(verdicts)


@pytest.mark.parametrize(
    ("rule", "scores", "score", "threshold"),
    [
        (RuleName.TECHNICAL, changed(finite=False), 0.0, 1.0),
        (RuleName.TECHNICAL, changed(size_matches=False), 6.5, 1.0),
        (RuleName.TECHNICAL, changed(constant=True, entropy=0.0), 0.0, 1.0),
        (RuleName.TECHNICAL, changed(entropy=0.99), 0.99, 1.0),
        (RuleName.TECHNICAL, changed(clipped=0.51), 0.51, 0.5),
        (RuleName.IMAGE_TEXT, with_category(ROAD, margin=-0.01), -0.01, 0.0),
        (RuleName.IMAGE_TEXT, with_category(ROAD, rank=6), 6, 5),
        (RuleName.REGION_TEXT, changed(regions=[GOOD["regions"][1]]), 1.0, 0.5),
        (RuleName.MASK_AGREEMENT, with_category(ROAD, contrast=-0.5), -0.5, 0.0),
        (RuleName.MASK_AGREEMENT, changed(placement=-0.03), -0.03, -0.02),
        (RuleName.LEAKAGE, with_category(ROAD, leakage=1.1), 1.1, 1.0),
    ],
)
def test_each_rule_rejects_beyond_its_threshold(
    rule: RuleName, scores: dict[str, Any], score: float, threshold: float
) -> None:
    found = verdict(rule, scores)
    assert (found.passed, found.score, found.threshold) == (False, score, threshold)
    assert not accepted(judge(scores, CALIBRATION, Policy.BALANCED))


@pytest.mark.parametrize(
    ("changes", "threshold"), [({"iou": 0.25}, 0.3), ({"recall": 0.35}, 0.4), ({"contrast": 0.3}, 0.5)]
)
def test_strict_adds_recall_and_iou_and_takes_the_percentile(
    changes: dict[str, float], threshold: float
) -> None:
    scores = with_category(ROAD, **changes)
    assert verdict(RuleName.MASK_AGREEMENT, scores).passed is True
    found = verdict(RuleName.MASK_AGREEMENT, scores, Policy.STRICT)
    assert (found.passed, found.threshold) == (False, pytest.approx(threshold))


def test_strict_rejects_for_less_leakage() -> None:
    scores = with_category(ROAD, leakage=0.4)
    assert verdict(RuleName.LEAKAGE, scores).passed is True
    found = verdict(RuleName.LEAKAGE, scores, Policy.STRICT)
    assert (found.passed, found.threshold) == (False, 0.3)


def test_balanced_contrast_is_the_percentile_where_that_is_below_zero() -> None:
    low = CALIBRATION.categories[4].model_copy(update={"contrast": limits(-0.3, 0.1)})
    loose = CALIBRATION.model_copy(update={"categories": {4: low}})
    for contrast, passed in ((-0.29, True), (-0.31, False)):
        verdicts = judge(with_category(ROAD, contrast=contrast), loose, Policy.BALANCED)
        assert verdicts[3].passed is passed


def test_a_category_on_few_pixels_is_not_judged_by_the_segmenter() -> None:
    scores = with_category(ROAD, share=0.04, contrast=-5.0, iou=0.0, recall=0.0, leakage=9.0)
    assert accepted(judge(scores, CALIBRATION, Policy.STRICT))


def test_many_ignored_pixels_reject_under_strict_only() -> None:
    scores = changed(ignored=0.6)
    assert verdict(RuleName.PIXEL_IGNORE, scores).passed is None
    assert verdict(RuleName.PIXEL_IGNORE, scores, Policy.STRICT).passed is False


@pytest.mark.parametrize("hardness", [0.1, 1.5])
@pytest.mark.parametrize("policy", [Policy.BALANCED, Policy.STRICT])
def test_informativeness_selects_and_never_rejects(hardness: float, policy: Policy) -> None:
    found = verdict(RuleName.INFORMATIVENESS, changed(hardness=hardness), policy)
    assert found.passed is None
    assert "does not reject" in found.detail


def test_off_shows_scores_and_rejects_nothing() -> None:
    scores = changed(finite=True, constant=True, entropy=0.0, placement=-1.0)
    verdicts = judge(scores, CALIBRATION, Policy.OFF, {"technical": 3.0, "mask_agreement": None})
    assert accepted(verdicts)
    assert {one.passed for one in verdicts} == {None}
    assert verdicts[0].score == 0.0
    assert verdicts[3].score == -1.0


@pytest.mark.parametrize(
    ("rule", "number", "passed"),
    [
        (RuleName.TECHNICAL, 7.0, False),
        (RuleName.IMAGE_TEXT, 0.02, False),
        (RuleName.REGION_TEXT, 0.4, False),
        (RuleName.MASK_AGREEMENT, 0.55, False),
        (RuleName.MASK_AGREEMENT, 0.45, True),
        (RuleName.LEAKAGE, 0.15, False),
        (RuleName.PIXEL_IGNORE, 0.05, False),
        (RuleName.INFORMATIVENESS, 0.7, False),
        (RuleName.INFORMATIVENESS, 0.1, True),
    ],
)
def test_a_number_by_request_replaces_the_calibrated_ones(
    rule: RuleName, number: float, passed: bool
) -> None:
    found = verdict(rule, GOOD, **{rule.value: number})
    assert found.passed is passed
    assert found.threshold == number


def test_none_by_request_switches_a_rule_off() -> None:
    found = verdict(RuleName.LEAKAGE, with_category(ROAD, leakage=9.0), leakage=None)
    assert (found.passed, found.detail) == (None, "Switched off by the request.")


def test_unknown_never_rejects_and_says_why() -> None:
    bare = {key: GOOD[key] for key in ("version", "finite", "size_matches", "constant", "entropy", "clipped")}
    bare |= {"segmenter": None, "clip": None, "categories": {}}
    found = {one.rule: one for one in judge(bare, CALIBRATION, Policy.STRICT)}
    assert accepted(found.values())
    assert found[RuleName.IMAGE_TEXT].detail == "Unknown: no clip is configured."
    assert found[RuleName.LEAKAGE].detail == "Unknown: no segmenter is configured."
    without = {one.rule: one.detail for one in judge(GOOD, None, Policy.STRICT)}
    assert without[RuleName.MASK_AGREEMENT] == "Unknown: there is no calibration."
    other = {one.rule: one.detail for one in judge(changed(segmenter="other"), CALIBRATION, Policy.STRICT)}
    assert other[RuleName.LEAKAGE] == "Unknown: the calibration was made with another segmenter."


def test_a_category_without_thresholds_is_unknown() -> None:
    scores = changed(
        categories={"6": {"share": 0.9, "recall": 0.0, "iou": 0.0, "contrast": -9.0, "leakage": 9.0}},
        placement=0.0,
    )
    assert verdict(RuleName.LEAKAGE, scores).passed is None
    assert accepted(judge(scores, CALIBRATION, Policy.STRICT))


def test_a_picture_that_is_not_finite_fails_r1_and_is_unknown_to_the_others() -> None:
    scores = {"finite": False, "size_matches": True, "constant": False, "entropy": 3.0, "clipped": 0.0}
    scores |= {"segmenter": "5e9", "clip": None, "categories": {}}
    verdicts = judge(scores, CALIBRATION, Policy.BALANCED)
    assert verdicts[0].passed is False
    assert {one.passed for one in verdicts[1:]} == {None}
