"""Condition sampling: ids are kept exactly, and the draw is a function of (seed, index) and the mask."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydantic import ValidationError

from models.categories import CATEGORIES, caption
from models.condition_sampling import ConditionOptions, Flip, moved, sample_condition

ALL = range(1, 67)
EVERYTHING = ConditionOptions(
    flip=True,
    rotate90=True,
    translate=0.25,
    scale=(0.5, 2),
    single_category=0.5,
    extra_category_probability=0.5,
)
MASK = np.zeros((24, 24), np.uint8)
MASK[2:9, 3:20] = 8
MASK[12:15] = 4
MASK[18:, 18:] = 255

masks = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
    elements=st.sampled_from([0, 1, 4, 8, 25, 66, 255]),
)
options = st.builds(
    ConditionOptions,
    flip=st.booleans(),
    rotate90=st.booleans(),
    translate=st.floats(0, 0.5),
    scale=st.tuples(st.floats(0.5, 1), st.floats(1, 2)),
    single_category=st.floats(0, 1),
    extra_category_probability=st.floats(0, 1),
)
seeds = st.integers(0, 2**32 - 1)
indexes = st.integers(0, 2**24 - 1)


def naive_move(mask: NDArray[np.uint8], scale: float, dx: int, dy: int) -> NDArray[np.uint8]:
    """Pixel by pixel: where does this cell's centre come from?"""
    height, width = mask.shape
    out = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            source_y = math.floor((y + 0.5 - height / 2 - dy) / scale + height / 2)
            source_x = math.floor((x + 0.5 - width / 2 - dx) / scale + width / 2)
            if 0 <= source_y < height and 0 <= source_x < width:
                out[y, x] = mask[source_y, source_x]
    return out


@given(masks, options, seeds, indexes)
@settings(max_examples=150, deadline=None)
def test_what_holds_for_every_condition(
    mask: NDArray[np.uint8], asked: ConditionOptions, seed: int, index: int
) -> None:
    before = mask.copy()
    found = sample_condition(mask, asked, seed=seed, index=index, allowed=ALL)
    assert np.array_equal(mask, before)
    assert (found.mask.shape, found.mask.dtype) == (mask.shape, np.uint8)
    assert set(np.unique(found.mask)) <= {*np.unique(mask).tolist(), 0}
    extra, single = found.transform["extra_category"], found.transform["single_category"]
    real = set(np.unique(found.mask).tolist()) - {0, 255}
    assert extra not in real
    assert set(found.categories) == real | ({extra} if extra else set())
    assert list(found.categories) == sorted(found.categories)
    assert found.prompt == caption(found.categories)
    if single is not None:
        assert real == {single}
    assert json.loads(json.dumps(found.transform)) == found.transform
    again = sample_condition(mask, asked, seed=seed, index=index, allowed=ALL)
    assert np.array_equal(again.mask, found.mask)
    assert (again.categories, again.transform) == (found.categories, found.transform)


@given(masks, seeds, indexes)
@settings(max_examples=40, deadline=None)
def test_without_options_the_mask_is_untouched(mask: NDArray[np.uint8], seed: int, index: int) -> None:
    found = sample_condition(mask, ConditionOptions(), seed=seed, index=index, allowed=ALL)
    assert np.array_equal(found.mask, mask)
    assert found.prompt == caption(np.unique(mask).tolist())
    assert found.transform == {
        "flip": "none",
        "quarter_turns": 0,
        "scale": 1.0,
        "shift_xy": [0, 0],
        "single_category": None,
        "extra_category": None,
    }


@given(masks, st.sampled_from(Flip), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_flips_and_turns_are_numpys(mask: NDArray[np.uint8], flip: Flip, turns: int) -> None:
    expected = {
        Flip.NONE: mask,
        Flip.HORIZONTAL: np.fliplr(mask),
        Flip.VERTICAL: np.flipud(mask),
        Flip.BOTH: np.flip(mask),
    }[flip]
    still = {"scale": 1.0, "shift_xy": (0, 0)}
    if mask.shape[0] != mask.shape[1]:
        turns -= turns % 2
    found = moved(mask, flip=flip, quarter_turns=turns, **still)
    assert np.array_equal(found, np.rot90(expected, turns))
    twice = moved(moved(mask, flip=flip, quarter_turns=0, **still), flip=flip, quarter_turns=0, **still)
    assert np.array_equal(twice, mask)
    back = moved(found, flip=Flip.NONE, quarter_turns=4 - turns, **still)
    assert np.array_equal(back, expected)


@given(masks, st.floats(0.5, 2), st.integers(-12, 12), st.integers(-12, 12))
@settings(max_examples=80, deadline=None)
def test_scale_and_shift_are_the_naive_loop(mask: NDArray[np.uint8], scale: float, dx: int, dy: int) -> None:
    found = moved(mask, flip=Flip.NONE, quarter_turns=0, scale=scale, shift_xy=(dx, dy))
    assert np.array_equal(found, naive_move(mask, scale, dx, dy))


def test_a_shift_by_hand() -> None:
    mask = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 255]], np.uint8)
    found = moved(mask, flip=Flip.NONE, quarter_turns=0, scale=1.0, shift_xy=(1, -1))
    assert found.tolist() == [[0, 4, 5], [0, 7, 8], [0, 0, 0]]


def test_doubling_by_hand() -> None:
    mask = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    found = moved(mask, flip=Flip.NONE, quarter_turns=0, scale=2.0, shift_xy=(0, 0))
    assert found.tolist() == [[6, 6, 7, 7], [6, 6, 7, 7], [10, 10, 11, 11], [10, 10, 11, 11]]


def test_the_record_is_enough_to_make_the_mask_again() -> None:
    for index in range(40):
        found = sample_condition(MASK, EVERYTHING, seed=3, index=index, allowed=ALL)
        was = found.transform
        again = moved(
            MASK,
            flip=Flip(was["flip"]),
            quarter_turns=was["quarter_turns"],
            scale=was["scale"],
            shift_xy=tuple(was["shift_xy"]),
        )
        if was["single_category"] is not None:
            again = np.where(np.isin(again, [was["single_category"], 255]), again, 0)
        assert np.array_equal(again, found.mask)


def test_a_mask_that_is_not_square_only_turns_by_half() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    drawn = {
        sample_condition(mask, ConditionOptions(rotate90=True), seed=1, index=index, allowed=ALL).transform[
            "quarter_turns"
        ]
        for index in range(40)
    }
    assert drawn == {0, 2}


def test_every_choice_is_drawn_about_as_often() -> None:
    """600 draws: each of four equal chances is within 4 standard deviations (42) of 150."""
    found = [sample_condition(MASK, EVERYTHING, seed=9, index=index, allowed=ALL) for index in range(600)]
    for name in ("flip", "quarter_turns"):
        counts = Counter(one.transform[name] for one in found)
        assert len(counts) == 4
        assert all(abs(count - 150) < 43 for count in counts.values()), counts
    shifts = [one.transform["shift_xy"] for one in found]
    assert {x for x, _ in shifts} == {y for _, y in shifts} == set(range(-6, 7))
    scales = [one.transform["scale"] for one in found]
    assert 0.5 <= min(scales) < 0.55
    assert 1.9 < max(scales) <= 2
    assert abs(sum(scale < 1 for scale in scales) - 300) < 49  # half and double are equally likely
    assert abs(sum(one.transform["extra_category"] is not None for one in found) - 300) < 49
    single = Counter(one.transform["single_category"] for one in found)
    assert set(single) == {None, 4, 8}
    assert abs(single[None] - 300) < 49


def test_another_index_or_seed_is_another_draw_and_one_option_does_not_move_the_others() -> None:
    def transforms(asked: ConditionOptions, seed: int) -> list[dict[str, object]]:
        return [
            sample_condition(MASK, asked, seed=seed, index=index, allowed=ALL).transform
            for index in range(20)
        ]

    assert transforms(EVERYTHING, 1) != transforms(EVERYTHING, 2)
    assert len({json.dumps(found) for found in transforms(EVERYTHING, 1)}) > 15
    less = transforms(EVERYTHING.model_copy(update={"flip": False}), 1)
    kept = ("quarter_turns", "scale", "shift_xy", "single_category")
    assert [[one[name] for name in kept] for one in less] == [
        [one[name] for name in kept] for one in transforms(EVERYTHING, 1)
    ]


def test_a_single_category_copy_keeps_ignore() -> None:
    found = sample_condition(MASK, ConditionOptions(single_category=1), seed=0, index=0, allowed=ALL)
    (kept,) = found.categories
    assert kept in {4, 8}
    assert np.array_equal(found.mask, np.where(np.isin(MASK, [kept, 255]), MASK, 0))
    assert found.prompt == f"A satellite image of {CATEGORIES[kept].name}"


def test_the_extra_category_is_in_the_text_alone_and_one_of_the_allowed() -> None:
    asked = ConditionOptions(extra_category_probability=1)
    found = sample_condition(MASK, asked, seed=5, index=0, allowed={0, 4, 8, 16, 255})
    assert (found.categories, found.transform["extra_category"]) == ((4, 8, 16), 16)
    assert found.prompt == "A satellite image of road, building, plane"
    assert np.array_equal(found.mask, MASK)
    nothing_left = sample_condition(MASK, asked, seed=5, index=0, allowed={4, 8})
    assert nothing_left.transform["extra_category"] is None


def test_a_draw_stays_the_same_in_every_release() -> None:
    """Data sets are repeatable: this draw was recorded once and must never change."""
    found = sample_condition(MASK, EVERYTHING, seed=2026, index=7, allowed=ALL)
    assert found.transform == {
        "flip": "vertical",
        "quarter_turns": 3,
        "scale": 1.0971,
        "shift_xy": [-5, -1],
        "single_category": 8,
        "extra_category": 54,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"translate": 0.6},
        {"translate": -0.1},
        {"translate": math.nan},
        {"scale": [0.4, 1]},
        {"scale": [1, 2.5]},
        {"scale": [1.5, 1]},
        {"scale": [1]},
        {"scale": 1},
        {"single_category": 1.5},
        {"extra_category_probability": -1},
        {"flips": True},
    ],
)
def test_options_outside_their_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ConditionOptions.model_validate(wrong)


def test_json_options() -> None:
    found = ConditionOptions.model_validate_json('{"single_category": true, "scale": [0.5, 2]}', strict=True)
    assert (found.single_category, found.scale) == (1.0, (0.5, 2.0))
    off = ConditionOptions.model_validate_json('{"single_category": false}', strict=True)
    assert off == ConditionOptions()
