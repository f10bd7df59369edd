"""A segmenter's agreement against sets of pixels and sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.rfilter.agreement import Belief, agreements, category_indices, leaks, pixel_loss
from tests.models.rfilter.scenes import ColorSegmenter, toy_tile

IDS = (1, 4, 8)


def belief(labels: np.ndarray, sure: float = 0.8) -> Belief:  # type: ignore[type-arg]
    """Believes in `labels` (H, W) of IDS with probability `sure`, in each other category with half of the rest."""
    chances = np.full((3, *labels.shape), (1 - sure) / 2, np.float32)
    for index, number in enumerate(IDS):
        chances[index][labels == number] = sure
    return Belief(np.log(chances), IDS, np.zeros(2, np.float32))


def test_recall_iou_and_loss_equal_the_definition_on_sets_of_pixels() -> None:
    rng = np.random.default_rng(0)
    mask = rng.choice(np.array([0, 1, 4, 8, 255], np.uint8), size=(40, 40))
    said = rng.choice(np.array(IDS, np.uint8), size=(40, 40))
    indices = category_indices(mask, IDS)
    found = agreements(belief(said), indices)
    judged = np.isin(mask, IDS)
    assert list(found) == list(IDS)
    for number, agreement in found.items():
        true = {tuple(p) for p in np.argwhere(mask == number)}
        hit = {tuple(p) for p in np.argwhere((said == number) & judged)}
        assert agreement.share == pytest.approx(len(true) / 1600)
        assert agreement.recall == pytest.approx(len(true & hit) / len(true))
        assert agreement.iou == pytest.approx(len(true & hit) / len(true | hit))
        wrong = len(true - hit) / len(true)
        assert agreement.loss == pytest.approx(-(wrong * np.log(0.1) + (1 - wrong) * np.log(0.8)), rel=1e-5)
        outside = np.argwhere(judged & (mask != number))
        inside_mean = wrong * np.log(0.1) + (1 - wrong) * np.log(0.8)
        outside_mean = np.mean([np.log(0.8 if said[y, x] == number else 0.1) for y, x in outside])
        assert agreement.contrast == pytest.approx(inside_mean - outside_mean, rel=1e-4)


def test_small_categories_and_foreign_ones_are_not_judged() -> None:
    mask = np.full((100, 100), 1, np.uint8)
    mask[:9, :11] = 4  # 99 of 10,000 pixels
    mask[50:] = 30  # the segmenter does not know chimneys
    assert list(agreements(belief(mask), category_indices(mask, IDS))) == [1]


def test_a_picture_of_one_category_is_judged_against_chance() -> None:
    mask = np.full((20, 20), 1, np.uint8)
    right = agreements(belief(mask), category_indices(mask, IDS))[1]
    wrong = agreements(belief(np.full((20, 20), 4, np.uint8), 0.99), category_indices(mask, IDS))[1]
    assert right.contrast > 0 > wrong.contrast


def test_pixel_loss_is_zero_where_the_mask_says_anything() -> None:
    mask = np.array([[0, 1], [255, 4]], np.uint8)
    loss = pixel_loss(belief(np.array([[1, 1], [1, 1]], np.uint8)), category_indices(mask, IDS))
    np.testing.assert_allclose(loss, [[0, -np.log(0.8)], [0, -np.log(0.1)]], rtol=1e-6)


def test_an_object_outside_its_mask_has_leaked_and_an_overhang_has_not() -> None:
    mask = np.full((100, 100), 1, np.uint8)
    mask[20:40, 20:40] = 8
    said = mask.copy()
    said[18:42, 18:42] = 8  # sticks out by 2 px
    assert not leaks(belief(said), mask, category_indices(mask, IDS))[0][8].any()
    said[60:90, 60:90] = 8
    leaked, likelier = leaks(belief(said), mask, category_indices(mask, IDS))
    where = leaked[8]
    assert list(leaked) == [1, 8]
    np.testing.assert_array_equal(where, likelier)
    assert where[62:88, 62:88].all()
    assert where.sum() <= 900
    assert not where[:55, :55].any()


def test_unlabelled_ground_counts_as_outside() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[:20, :20] = 8
    said = np.full((100, 100), 1, np.uint8)
    said[:20, :20] = 8
    said[60:90, 60:90] = 8
    leaked, _ = leaks(belief(said, 0.6), mask, category_indices(mask, IDS))
    assert leaked[8].sum() > 700
    leaked, _ = leaks(belief(said, 0.45), mask, category_indices(mask, IDS))
    assert not leaked[8].any()


def test_what_is_less_likely_than_in_its_own_mask_has_not_leaked_but_is_doubtful() -> None:
    mask = np.full((100, 100), 1, np.uint8)
    mask[:30, :30] = 8
    said = mask.copy()
    said[60:90, 60:90] = 8
    seen = belief(said, 0.9)
    seen.log_probabilities[2][60:90, 60:90] = np.log(0.7)
    leaked, likelier = leaks(seen, mask, category_indices(mask, IDS))
    assert not leaked[8].any()
    assert likelier[62:88, 62:88].all()


def test_a_permuted_mask_has_negative_contrast_somewhere() -> None:
    tile = toy_tile("t", 0, 256)
    seen = ColorSegmenter().believe(tile.image)
    table = np.arange(256, dtype=np.uint8)
    table[[1, 4, 5, 6, 8]] = [4, 5, 6, 8, 1]
    right = agreements(seen, category_indices(tile.mask, seen.category_ids))
    wrong = agreements(seen, category_indices(table[tile.mask], seen.category_ids))
    assert min(one.contrast for one in right.values()) > 1
    assert min(one.contrast for one in wrong.values()) < 0
