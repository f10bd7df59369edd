from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.categories import caption
from models.cfcomp.composition import MIN_COMPONENT_PX, Pair, compose, compose_batch, object_pixels
from models.cfcomp.triple import Triple
from tests.models.cfcomp.samples import masks_and_pictures, triple, with_boxes


def test_two_tiles_of_four_by_four_receive_each_others_tanks() -> None:
    first = triple(
        np.array([[25, 25, 0, 0], [25, 25, 0, 0], [0, 0, 0, 4], [0, 0, 0, 4]], np.uint8), (10, 0, 0), "a"
    )
    second = triple(
        np.array([[0, 0, 0, 0], [0, 25, 0, 0], [0, 0, 0, 25], [6, 0, 0, 0]], np.uint8), (0, 20, 0), "b"
    )

    one, other = compose(first, second, 25)

    assert one.mask.tolist() == [[25, 25, 0, 0], [25, 25, 0, 0], [0, 0, 0, 25], [0, 0, 0, 4]]
    assert other.mask.tolist() == [[25, 25, 0, 0], [25, 25, 0, 0], [0, 0, 0, 25], [6, 0, 0, 0]]
    # 1: from the other tile. In the overlap, (1, 1), each has the other's pixel.
    assert (one.picture[:, :, 1] == 20).astype(int).tolist() == [
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
    ]
    assert (other.picture[:, :, 0] == 10).astype(int).tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert one.text == "A satellite image of road, storage tank"
    assert other.text == "A satellite image of water, storage tank"
    assert (one.name, other.name) == ("a+b", "b+a")


def test_small_components_stay_at_home() -> None:
    """Corners touch: three pixels are one component. The lone fourth is a speck."""
    mask = np.array([[8, 0, 0, 0], [0, 8, 0, 8], [0, 8, 0, 0], [0, 0, 0, 0]], np.uint8)
    alpha, largest = object_pixels(mask, 8, smallest_px=2)
    assert largest == 3
    assert np.argwhere(alpha).tolist() == [[0, 0], [1, 1], [2, 1]]
    one, _ = compose(triple(np.zeros((4, 4), np.uint8), (0, 0, 0)), triple(mask, (9, 9, 9)), 8, smallest_px=2)
    assert np.count_nonzero(one.mask) == 3


def test_without_the_category_in_one_only_the_other_changes() -> None:
    bare, tank = triple(with_boxes(), (1, 1, 1)), triple(with_boxes((25, 4, 4, 8, 8)), (2, 2, 2))
    gained, same = compose(bare, tank, 25)
    assert np.array_equal(gained.mask, tank.mask)
    assert np.array_equal(same.picture, tank.picture)
    assert np.array_equal(same.mask, tank.mask)


def test_sizes_must_be_equal() -> None:
    with pytest.raises(ValueError, match="32"):
        compose(triple(with_boxes(), (0, 0, 0)), triple(with_boxes(side=16), (0, 0, 0)), 8)


def test_a_batch_keeps_its_order_and_uses_the_originals() -> None:
    batch = [triple(with_boxes((8, 8 * k, 0, 8, 8)), (k, k, k), str(k)) for k in range(4)]
    composed = compose_batch(batch, [Pair(0, 3, 8, 0.0, 1.0, 1.0)])
    assert [sample.name for sample in composed] == ["0+3", "1", "2", "3+0"]
    assert composed[1] is batch[1]
    assert np.array_equal(composed[0].mask, composed[3].mask)
    assert MIN_COMPONENT_PX == 8 * 8
    assert compose_batch(batch, []) == batch


def by_loops(home: Triple, donor: Triple, category: int) -> tuple[list[list[int]], list[list[list[int]]]]:
    """x = alpha x_j + (1 - alpha) x_i and m = where(alpha, c, m_i), pixel by pixel."""
    mask, picture = home.mask.tolist(), home.picture.tolist()
    for y, row in enumerate(donor.mask.tolist()):
        for x, number in enumerate(row):
            if number == category:
                mask[y][x] = category
                picture[y][x] = donor.picture[y, x].tolist()
    return mask, picture


@given(masks_and_pictures(), masks_and_pictures(), st.sampled_from([1, 8, 25, 66]))
def test_composites_are_those_of_the_formula(first: Triple, second: Triple, category: int) -> None:
    for made, home, donor in zip(
        compose(first, second, category), (first, second), (second, first), strict=True
    ):
        mask, picture = by_loops(home, donor, category)
        assert made.mask.tolist() == mask
        assert made.picture.tolist() == picture
        assert made.mask.dtype == made.picture.dtype == np.uint8


@given(masks_and_pictures(), masks_and_pictures(), st.sampled_from([1, 8, 25, 66]))
def test_what_holds_of_every_exchange(first: Triple, second: Triple, category: int) -> None:
    for made, home, donor in zip(
        compose(first, second, category), (first, second), (second, first), strict=True
    ):
        came = donor.mask == category
        assert np.array_equal(made.picture[~came], home.picture[~came])  # picture and mask change only there
        assert np.array_equal(made.mask[~came], home.mask[~came])
        assert np.array_equal(made.picture[came], donor.picture[came])
        assert (made.mask[came] == category).all()
        ids = set(made.mask.ravel().tolist())
        assert ids <= set(first.mask.ravel().tolist()) | set(second.mask.ravel().tolist())
        assert made.text == caption(ids)
    one, other = compose(first, second, category)
    union = (first.mask == category) | (second.mask == category)
    assert np.array_equal(one.mask == category, union)
    assert np.array_equal(other.mask == category, union)
