"""All scores together: what is in them, how large they are, that they repeat, and what becomes 255."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.rfilter.calibration import Calibration, CategoryLimits, Limits
from models.rfilter.clip import Clip
from models.rfilter.rules import Policy, accepted, judge
from models.rfilter.scorers import Scorers, load_scorers
from tests.models.rfilter.scenes import ColorSegmenter, toy_picture, toy_tile

PROMPT = "A satellite image of bare land, road, tree, water, building"


def calibration(mean_loss: float, clip: str | None = None) -> Calibration:
    same = Limits(balanced=0.0, strict=0.0)
    never, always = Limits(balanced=-9, strict=-9), Limits(balanced=99, strict=99)
    category = CategoryLimits(
        pairs=99,
        mean_loss=mean_loss,
        recall=never,
        iou=never,
        contrast=never,
        leakage=always,
        region_margin=always,  # no region is ever recognised
        region_rank=always,
    )
    return Calibration(
        source="by hand",
        pairs=99,
        segmenter=ColorSegmenter().digest,
        clip=clip,
        levels=same,
        pass_rates=same,
        categories=dict.fromkeys((1, 4, 5, 6, 8), category),
    )


def test_without_models_the_rules_that_need_none_still_judge() -> None:
    tile = toy_tile("t", 0, 256)
    scored = load_scorers(segmenter=None, clip=None, device="cpu").score(tile.image, tile.mask, PROMPT)
    assert scored.ignore is None
    assert scored.scores["segmenter"] is None
    assert scored.scores["placement"] > 0
    assert len(scored.scores["hash"]) == 16
    passed = {one.rule: one.passed for one in judge(scored.scores, None, Policy.STRICT)}
    assert passed["technical"] is True
    assert set(passed.values()) == {True, None}


def test_scores_are_small_json_and_the_same_each_time(clip_folder: Path) -> None:
    tile = toy_tile("t", 0, 256)
    scorers = Scorers(ColorSegmenter(), Clip(clip_folder, "cpu"))
    texts = [json.dumps(scorers.score(tile.image, tile.mask, PROMPT).scores) for _ in range(2)]
    assert texts[0] == texts[1]
    assert len(texts[0]) < 2000 + 100 * 16  # and at most 16 regions
    assert list(json.loads(texts[0])["categories"]) == ["1", "4", "5", "6", "8"]


def test_nan_and_another_size_fail_r1_and_nothing_else_is_scored() -> None:
    tile = toy_tile("t", 0, 256)
    broken = tile.image.astype(np.float32) / 255
    broken[7, 9] = np.nan
    scorers = Scorers(ColorSegmenter())
    for image in (broken, tile.image[:128]):
        scores = scorers.score(image, tile.mask, PROMPT).scores
        assert "hash" not in scores
        assert judge(scores, calibration(1.0), Policy.BALANCED)[0].passed is False


def test_a_float_picture_scores_as_its_bytes() -> None:
    tile = toy_tile("t", 0, 256)
    scorers = Scorers(ColorSegmenter())
    as_float = scorers.score(tile.image.astype(np.float64) / 255, tile.mask, PROMPT).scores
    assert as_float == scorers.score(tile.image, tile.mask, PROMPT).scores


def test_pixels_above_the_mean_loss_are_ignored() -> None:
    tile = toy_tile("t", 0, 256)
    wrong = tile.mask.copy()
    wrong[64:128, 64:128] = np.where(wrong[64:128, 64:128] == 6, 8, 6)  # the label lies there
    scored = Scorers(ColorSegmenter()).score(tile.image, wrong, PROMPT, calibration=calibration(1.0))
    assert scored.ignore is not None
    assert scored.ignore[64:128, 64:128].mean() > 0.95
    assert scored.ignore[160:].mean() < 0.05
    assert scored.scores["ignored"] == pytest.approx(1 / 16, abs=0.03)


def test_another_segmenters_calibration_marks_nothing() -> None:
    tile = toy_tile("t", 0, 256)
    other = calibration(0.0).model_copy(update={"segmenter": "other"})
    scored = Scorers(ColorSegmenter()).score(tile.image, tile.mask, PROMPT, calibration=other)
    assert "ignored" not in scored.scores


def test_regions_that_are_not_recognised_are_ignored_and_most_of_them_reject(clip_folder: Path) -> None:
    clip = Clip(clip_folder, "cpu")
    tile = toy_tile("t", 0, 256)
    limits = calibration(1e6, clip.digest)
    scored = Scorers(ColorSegmenter(), clip).score(tile.image, tile.mask, PROMPT, calibration=limits)
    assert scored.ignore is not None
    assert scored.ignore.mean() > 0.3
    verdicts = {one.rule: one for one in judge(scored.scores, limits, Policy.BALANCED)}
    assert verdicts["region_text"].score == 1.0
    assert not accepted(verdicts.values())


def test_a_category_that_only_the_prompt_names_counts_neither_way(clip_folder: Path) -> None:
    clip = Clip(clip_folder, "cpu")
    mask = np.full((256, 256), 8, np.uint8)
    image = toy_picture(mask, np.random.default_rng(0))
    cosines = clip.similarities(clip.embed([image]))[0]
    order = [int(number) for number in np.argsort(-cosines) if number not in {0, 8}]
    from models.categories import CATEGORIES, caption

    named = Scorers(clip=clip).score(image, mask, caption([8, order[0]])).scores["categories"]["8"]
    plain = Scorers(clip=clip).score(image, mask, "A satellite image of building").scores["categories"]["8"]
    assert plain["margin"] == pytest.approx(cosines[8] - cosines[order[0]], abs=1e-4)
    assert named["margin"] == pytest.approx(cosines[8] - cosines[order[1]], abs=1e-4)
    assert CATEGORIES[order[0]].name not in {"background", "building"}


def test_of_a_composite_only_the_region_is_judged(clip_folder: Path) -> None:
    """Wrong labels outside the region are the caller's own: neither scored nor ignored, inside they are."""
    tile = toy_tile("t", 0, 256)
    region = np.zeros(tile.mask.shape, np.bool_)
    region[:, :160] = True
    wrong = tile.mask.copy()
    wrong[64:128, 176:240] = np.where(wrong[64:128, 176:240] == 6, 8, 6)
    wrong[64:128, 64:128] = np.where(wrong[64:128, 64:128] == 6, 8, 6)
    scorers = Scorers(ColorSegmenter(), Clip(clip_folder, "cpu"))
    whole = scorers.score(tile.image, wrong, PROMPT, calibration=calibration(1.0))
    part = scorers.score(tile.image, wrong, PROMPT, calibration=calibration(1.0), region=region)
    cut = scorers.score(
        tile.image, np.where(region, wrong, np.uint8(255)), PROMPT, calibration=calibration(1.0)
    )
    assert whole.ignore is not None
    assert part.ignore is not None
    assert whole.ignore[64:128, 176:240].mean() > 0.95
    assert not part.ignore[~region].any()
    assert part.ignore[64:128, 64:128].mean() > 0.95
    assert "placement" not in part.scores
    for category, values in part.scores["categories"].items():
        assert "margin" not in values, "R2 looks at the whole picture"
        assert values["iou"] == cut.scores["categories"][category]["iou"]
    assert part.scores["hardness"] == cut.scores["hardness"]
    verdicts = {one.rule: one.passed for one in judge(part.scores, calibration(1.0), Policy.BALANCED)}
    assert (verdicts["technical"], verdicts["image_text"]) == (True, None)
