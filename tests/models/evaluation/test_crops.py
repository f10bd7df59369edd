"""What is trained on: crops, the small share, conditions, and that no test tile is among them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.conditions import derive_seed
from models.evaluation.crops import Crops, categories_in, check_disjoint, cut_crops, draw_share
from models.evaluation.pictures import draw_conditions
from models.nano.tiles import ORIENTATIONS, Tile, orient


def tile(name: str, seed: int, shape: tuple[int, int] = (70, 100)) -> Tile:
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 6, 255], np.uint8), size=shape)
    return Tile(name, rng.integers(0, 255, size=(*shape, 3), dtype=np.uint8), mask)


def test_cutting_gives_whole_squares_with_their_tile() -> None:
    tiles = [tile("a", 0), tile("b", 1, (32, 40)), tile("small", 2, (31, 90))]
    crops = cut_crops(tiles, 32)
    assert crops.groups == ("a",) * 6 + ("b",)
    np.testing.assert_array_equal(crops.images[4], tiles[0].image[32:64, 32:64])
    np.testing.assert_array_equal(crops.labels[4], tiles[0].mask[32:64, 32:64])
    assert categories_in(crops.labels) == (1, 6)
    with pytest.raises(ValueError, match="128 x 128"):
        cut_crops(tiles, 128)


def test_a_share_is_drawn_without_repetition_and_anew_for_each_seed() -> None:
    labels = np.arange(100, dtype=np.uint8)[:, None, None]
    crops = Crops(np.zeros((100, 1, 1, 3), np.uint8), labels, tuple(f"t{k}" for k in range(100)))
    first, again, other = (draw_share(crops, 0.1, seed) for seed in (0, 0, 1))
    assert len(first) == len(set(first.labels.ravel())) == 10
    assert first.groups == tuple(f"t{k}" for k in first.labels.ravel())
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.digest == again.digest != other.digest


def test_a_tile_on_both_sides_is_refused_by_name_or_by_pixels() -> None:
    check_disjoint([tile("a", 0), tile("b", 1)], [tile("c", 2)])
    with pytest.raises(ValueError, match="train and in val: a"):
        check_disjoint([tile("a", 0)], [tile("c", 3), tile("a", 2)])
    with pytest.raises(ValueError, match="renamed"):
        check_disjoint([tile("a", 0)], [tile("renamed", 0)])


def test_conditions_are_moved_copies_of_their_parents_with_a_prompt_of_what_is_left() -> None:
    masks = np.random.default_rng(0).choice(np.array([0, 4, 6], np.uint8), size=(5, 16, 16))
    masks[2] = 6
    drawn = draw_conditions(masks, count=12, seed=3, allowed=(1, 4, 6))
    parents = [one.parent for one in drawn]
    assert sorted(parents[:5]) == sorted(parents[5:10]) == [0, 1, 2, 3, 4]
    for one in drawn:
        assert any(middle_is_in(masks[one.parent], one.condition.mask, k) for k in range(ORIENTATIONS))
        words = {4: "road", 6: "water"}
        names = [words[k] for k in sorted(words) if (one.condition.mask == k).any()]
        assert one.condition.prompt == "A satellite image of " + ", ".join(names)
        assert one.condition.seed == derive_seed(3, one.condition.index)
    again = draw_conditions(masks, count=12, seed=3, allowed=(1, 4, 6))
    assert all((a.condition.mask == b.condition.mask).all() for a, b in zip(drawn, again, strict=True))


def middle_is_in(parent: NDArray[np.uint8], mask: NDArray[np.uint8], orientation: int) -> bool:
    """Whether the mask's middle half, which a shift of a quarter fills from the parent, is in the turned parent."""
    turned, middle = orient(parent, orientation), mask[4:12, 4:12]
    return any((turned[r : r + 8, c : c + 8] == middle).all() for r in range(9) for c in range(9))
