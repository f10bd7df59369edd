from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.cfcomp.composition import Pair
from models.cfcomp.options import CfCompOptions, SelectionWeights
from models.cfcomp.selection import match_pairs, random_distances, select_pairs
from tests.models.cfcomp.samples import triple, with_boxes

RED, BLUE, GREY = (200, 40, 40), (40, 40, 200), (90, 90, 90)
EQUAL = dict.fromkeys(range(1, 67), 0.5)
FAR = 1000.0  # a distance limit that allows every pair


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def matched(*masks: NDArray[np.uint8], limit: float = FAR, **options: object) -> list[tuple[int, int, int]]:
    samples = [triple(mask, RED) for mask in masks]
    pairs = match_pairs(samples, CfCompOptions.model_validate(options), EQUAL, distance_limit=limit)
    return [(pair.first, pair.second, pair.category_id) for pair in pairs]


def test_semantic_two_samples_share_a_category() -> None:
    tank, other_tank, plane = (
        with_boxes((25, 0, 0, 8, 8)),
        with_boxes((25, 16, 16, 8, 8)),
        with_boxes((16, 0, 16, 8, 8)),
    )
    assert matched(tank, plane) == []
    assert matched(plane, tank, other_tank) == [(1, 2, 25)]


def test_cross_class_the_second_alone_has_the_category() -> None:
    tank, bare = with_boxes((25, 0, 0, 8, 8)), with_boxes((1, 20, 0, 12, 32))
    assert matched(bare, tank, cross_class=True) in ([(0, 1, 25)], [(1, 0, 1)])
    assert matched(tank, tank, cross_class=True) == []
    empty = with_boxes()
    assert matched(tank, empty, cross_class=True) == [(1, 0, 25)]
    # A speck of the category is the category: 25 is in both.
    assert matched(with_boxes((25, 30, 30, 2, 2)), tank, cross_class=True) == []


@pytest.mark.parametrize(("shift", "allowed"), [(5, False), (6, True)])
def test_layout_overlap(shift: int, allowed: bool) -> None:
    """Boxes of 8 x 8 shifted by 5 and 6 columns share 3/8 = 0.375 and 2/8 = 0.25 of their area."""
    masks = with_boxes((4, 0, 0, 8, 8)), with_boxes((4, 0, shift, 8, 8))
    assert bool(matched(*masks)) is allowed
    assert matched(*masks, max_overlap=0.4, min_visible=0.6) == [(0, 1, 4)]


def test_layout_a_covered_object_stays_visible() -> None:
    """Of two ships under a road 8 px wide one keeps 3/4 of its area; moved by 1 px it keeps 5/8."""
    road = with_boxes((4, 0, 0, 8, 8), (4, 24, 0, 8, 32))
    for top, allowed in ((18, True), (19, False)):
        ships = with_boxes((4, 0, 16, 8, 8), (17, top, 0, 8, 4), (17, 10, 12, 8, 20))
        assert bool(matched(road, ships)) is allowed, top
    # The land cover "tree" is judged as a whole: the same pixels, 12 of 192 covered.
    trees = with_boxes((4, 0, 16, 8, 8), (5, 19, 0, 8, 4), (5, 10, 12, 8, 20))
    assert matched(road, trees) == [(0, 1, 4)]


@pytest.mark.parametrize(
    ("height", "width", "allowed"), [(8, 7, False), (8, 8, True), (16, 32, True), (17, 32, False)]
)
def test_layout_component_size(height: int, width: int, allowed: bool) -> None:
    """From 64 px to half of 32 x 32."""
    big, small = with_boxes((6, 0, 0, height, width)), with_boxes((6, 24, 24, 8, 8))
    assert bool(matched(big, small)) is allowed
    assert bool(matched(small, big)) is allowed


@pytest.mark.parametrize(("rows", "allowed"), [(3, True), (4, False)])
def test_layout_union(rows: int, allowed: bool) -> None:
    """16 and `rows` of 32 rows, apart: 59.4 % and 62.5 % of the tile."""
    masks = with_boxes((6, 0, 0, 16, 32)), with_boxes((6, 32 - rows, 0, rows, 32))
    assert bool(matched(*masks)) is allowed


def test_pixel_grey_does_not_pair_with_colour() -> None:
    masks = with_boxes((25, 0, 0, 8, 8)), with_boxes((25, 16, 16, 8, 8))
    mixed = [triple(masks[0], GREY), triple(masks[1], RED)]
    assert match_pairs(mixed, CfCompOptions(), EQUAL, distance_limit=FAR) == []
    grey = [triple(mask, GREY) for mask in masks]
    assert len(match_pairs(grey, CfCompOptions(), EQUAL, distance_limit=FAR)) == 1


def cielab(color: tuple[int, int, int]) -> NDArray[np.float64]:
    """CIE 15: sRGB (IEC 61966-2-1) to XYZ under D65 to L*a*b*."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in color)
    ]
    xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    ) @ np.array(linear)
    x, y, z = (
        t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29
        for t in xyz / np.array([0.95047, 1.0, 1.08883])
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_pixel_distance_is_that_of_the_backgrounds_in_cielab() -> None:
    samples = [triple(with_boxes((25, 0, 0, 8, 8)), RED), triple(with_boxes((25, 16, 16, 8, 8)), BLUE)]
    for sample in samples:
        sample.picture[sample.mask == 25] = 255  # the objects' own colour does not count
    expected = float(np.linalg.norm(cielab(RED) - cielab(BLUE)))
    assert random_distances(samples) == [pytest.approx(expected, abs=1.0)]
    (pair,) = match_pairs(samples, CfCompOptions(), EQUAL, distance_limit=expected + 1)
    assert pair.distance == pytest.approx(expected, abs=1.0)
    assert match_pairs(samples, CfCompOptions(), EQUAL, distance_limit=expected - 1) == []


def test_the_weights_decide_who_pairs_with_whom() -> None:
    """0 and 1 share a tank of equal background and overlap 2/8; 0 and 2 share a ship, apart, on another colour."""
    samples = [
        triple(with_boxes((25, 0, 0, 8, 8), (17, 20, 0, 8, 8)), RED),
        triple(with_boxes((25, 0, 6, 8, 8)), RED),
        triple(with_boxes((17, 20, 20, 8, 8)), BLUE),
    ]
    frequencies = {25: 0.01, 17: 1.0}

    def best(**weights: float) -> tuple[int, int, int, float]:
        options = CfCompOptions(selection_weights=SelectionWeights.model_validate(weights))
        (pair,) = match_pairs(samples, options, frequencies, distance_limit=200)
        return pair.first, pair.second, pair.category_id, pair.score

    distance = float(np.linalg.norm(cielab(RED) - cielab(BLUE)))
    assert best(layout=1, pixel=0, semantic=0) == (0, 2, 17, pytest.approx(1.0))
    assert best(layout=0, pixel=1, semantic=0) == (0, 2, 17, pytest.approx(distance / 200, abs=0.01))
    assert best(layout=0, pixel=0, semantic=1) == (0, 1, 25, pytest.approx(1.0))
    assert best(layout=1, pixel=0, semantic=1) == (0, 1, 25, pytest.approx(0.75 + 1.0))


def test_of_two_shared_categories_the_better_one_is_exchanged() -> None:
    """Tanks overlap by 2/8, ships do not; but where tanks are a hundred times as rare, they count for more."""
    samples = [
        triple(with_boxes((25, 0, 0, 8, 8), (17, 20, 0, 8, 8)), RED),
        triple(with_boxes((25, 0, 6, 8, 8), (17, 20, 20, 8, 8)), RED),
    ]
    for tanks, chosen, score in ((1.0, 17, 2.0), (0.01, 25, 1.75)):
        (pair,) = match_pairs(samples, CfCompOptions(), {25: tanks, 17: 1.0}, distance_limit=FAR)
        assert (pair.category_id, pair.score) == (chosen, pytest.approx(score))


def test_the_sum_of_scores_counts_and_not_the_best_pair() -> None:
    """On a path 0 - 1 - 2 - 3 the outer two pairs beat the middle one, although that is the best alone."""
    samples = [
        triple(with_boxes((25, 0, 0, 8, 8)), RED),
        triple(with_boxes((25, 16, 0, 8, 8), (16, 0, 16, 8, 8)), RED),
        triple(with_boxes((16, 16, 16, 8, 8), (17, 0, 8, 8, 8)), RED),
        triple(with_boxes((17, 16, 8, 8, 8)), RED),
    ]
    frequencies = {25: 1.0, 16: 0.5, 17: 1.0}
    pairs = match_pairs(samples, CfCompOptions(), frequencies, distance_limit=FAR)
    assert [(pair.first, pair.second, pair.category_id) for pair in pairs] == [(0, 1, 25), (2, 3, 17)]


def test_half_of_the_pairs_at_probability_one_half() -> None:
    samples = [triple(with_boxes((25, 0, 0, 8, 8)), RED), triple(with_boxes((25, 16, 16, 8, 8)), RED)]
    generator = rng()
    kept = sum(
        len(select_pairs(samples, CfCompOptions(), generator, EQUAL, distance_limit=FAR)) for _ in range(200)
    )
    assert 70 < kept < 130  # 100 expected, standard deviation 7


def test_without_a_limit_a_quarter_of_the_batchs_own_pairs_is_too_far() -> None:
    """Greens of four lightnesses: of six distances the two largest lie above their 75th percentile."""
    samples = [
        triple(with_boxes((25, 8 * k, 0, 8, 8)), (0, level, 0)) for k, level in enumerate((40, 60, 80, 255))
    ]
    distances = sorted(random_distances(samples))
    limit = float(np.percentile(distances, 75))
    assert sum(distance > limit for distance in distances) == 2
    pairs = match_pairs(samples, CfCompOptions(), EQUAL)
    assert pairs == match_pairs(samples, CfCompOptions(), EQUAL, distance_limit=limit)
    assert all(isinstance(pair, Pair) and pair.distance <= limit for pair in pairs)
    assert pairs


def test_odd_batches() -> None:
    assert match_pairs([], CfCompOptions(), EQUAL) == []
    alone = triple(with_boxes((25, 0, 0, 8, 8)), RED)
    assert match_pairs([alone], CfCompOptions(), EQUAL) == []
    with pytest.raises(ValueError, match="differ in size"):
        match_pairs([alone, triple(with_boxes(side=16), RED)], CfCompOptions(), EQUAL)
    with pytest.raises(KeyError):
        match_pairs([alone, triple(with_boxes((25, 16, 16, 8, 8)), RED)], CfCompOptions(), {8: 1.0})


@pytest.mark.parametrize(
    "wrong",
    [
        {"probability": 1.1},
        {"probability": float("nan")},
        {"max_overlap": -0.1},
        {"min_visible": 2},
        {"selection_weights": {"layout": 0, "pixel": 0, "semantic": 0}},
        {"selection_weights": {"layout": -1}},
        {"mode": "cross_class"},
    ],
)
def test_options_have_bounds(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        CfCompOptions.model_validate(wrong)
