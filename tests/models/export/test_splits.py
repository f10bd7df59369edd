"""Splits by their properties: complete, grouped, repeatable, near the ratios, even over categories."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.export.splits import assign_splits, in_usual_order

groups_of = st.dictionaries(
    st.text(min_size=1, max_size=6), st.lists(st.sampled_from([1, 4, 8, 25]), max_size=4), max_size=40
)
ratios_of = st.dictionaries(st.sampled_from(["train", "val", "test"]), st.floats(0, 5), min_size=1).filter(
    lambda ratios: sum(ratios.values()) > 1e-3
)


@given(groups_of, ratios_of, st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_every_group_gets_one_split_whatever_the_order(
    groups: dict[str, list[int]], ratios: dict[str, float], seed: int
) -> None:
    found = assign_splits(groups, ratios, seed)
    assert list(found) == list(groups)
    wanted = {name for name, ratio in ratios.items() if ratio > 0}
    assert set(found.values()) <= wanted
    if len(groups) >= len(wanted):
        assert set(found.values()) == wanted
    turned = {name: list(reversed(ids)) * 2 for name, ids in reversed(groups.items())}
    assert assign_splits(turned, dict(reversed(ratios.items())), seed) == found


@given(st.integers(0, 2**32 - 1), st.integers(30, 200))
@example(65536, 160)
@settings(max_examples=40, deadline=None)
def test_sizes_and_categories_are_near_the_ratios(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    groups = {
        f"g{number}": [c for c, share in ((1, 0.9), (4, 0.5), (25, 0.15)) if rng.random() < share]
        for number in range(count)
    }
    ratios = {"train": 0.8, "val": 0.1, "test": 0.1}
    found = assign_splits(groups, ratios, seed)
    for split, ratio in ratios.items():
        mine = [groups[name] for name, own in found.items() if own == split]
        # One pass for each category and one for the rest, each of which ends within one group of what was wanted.
        assert abs(len(mine) - ratio * count) <= 4
        for category in (1, 4, 25):
            have = sum(category in ids for ids in groups.values())
            assert abs(sum(category in ids for ids in mine) - ratio * have) <= 3


def test_a_rare_category_is_in_every_split_where_it_can_be() -> None:
    groups = {f"g{number}": [4, 25] if number < 10 else [4] for number in range(100)}
    found = assign_splits(groups, {"train": 8, "val": 1, "test": 1}, 3)
    rare = [found[f"g{number}"] for number in range(10)]
    assert {split: rare.count(split) for split in set(rare)} == {"train": 8, "val": 1, "test": 1}


def test_another_seed_deals_otherwise() -> None:
    groups = {f"g{number}": [4] for number in range(30)}
    ratios = {"train": 0.5, "val": 0.5}
    assert assign_splits(groups, ratios, 1) != assign_splits(groups, ratios, 2)


@pytest.mark.parametrize(
    "ratios",
    [{}, {"train": 0.0}, {"train": -1.0, "val": 2.0}, {"train": math.nan}, {"../x": 1.0}, {"all": 1.0}],
)
def test_impossible_splits_are_refused(ratios: dict[str, float]) -> None:
    with pytest.raises(InvalidInput) as refused:
        assign_splits({"a": [4]}, ratios, 0)
    assert refused.value.code == "invalid_split"


def test_usual_splits_come_first() -> None:
    assert in_usual_order(["b", "test", "a", "train", "val"]) == ["train", "val", "test", "a", "b"]
