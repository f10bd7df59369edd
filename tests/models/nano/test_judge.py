"""The judge's numbers against naive formulas."""

from __future__ import annotations

import numpy as np
import pytest

from models.nano.budget import Budget
from models.nano.evaluate import cut_tiles, other_masks
from models.nano.judge import CLASSES, class_indices, class_iou, confusion
from models.nano.memorisation import nearest_distances
from models.nano.tiles import Tile, orient


def test_iou_equals_the_definition_on_sets_of_pixels() -> None:
    rng = np.random.default_rng(0)
    masks = rng.choice(np.array([0, 1, 4, 5, 6, 8, 255], np.uint8), size=(3, 20, 20))
    found = rng.integers(0, CLASSES, size=masks.shape).astype(np.uint8)
    judged = np.isin(masks, [1, 4, 5, 6, 8])
    expected = []
    for index, category in enumerate([1, 4, 5, 6, 8]):
        true = {tuple(p) for p in np.argwhere(masks == category)}
        said = {tuple(p) for p in np.argwhere((found == index) & judged)}
        expected.append(len(true & said) / len(true | said))
    np.testing.assert_allclose(class_iou(confusion(found, masks)), expected)


def test_a_class_that_is_absent_has_no_iou() -> None:
    masks = np.full((1, 4, 4), 4, np.uint8)
    values = class_iou(confusion(class_indices(masks), masks))
    assert values[1] == 1.0
    assert np.isnan(values[[0, 2, 3, 4]]).all()


def test_shuffled_masks_never_meet_their_own_tile() -> None:
    names = [f"t{i // 4}" for i in range(24)]
    masks = np.arange(24, dtype=np.uint8).reshape(24, 1, 1)
    shuffled = other_masks(masks, names)
    assert sorted(shuffled.ravel()) == list(range(24))
    assert all(names[i] != names[int(j)] for i, j in enumerate(shuffled.ravel()))
    with pytest.raises(ValueError, match="more tiles"):
        other_masks(masks[:4], names[:4])


def test_cutting_gives_whole_squares_with_their_tile() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, size=(300, 600, 3), dtype=np.uint8)
    images, masks, names = cut_tiles([Tile("a", image, image[..., 0])])
    assert images.shape == (2, 256, 256, 3)
    np.testing.assert_array_equal(images[1], image[:256, 256:512])
    np.testing.assert_array_equal(masks[1], image[:256, 256:512, 0])
    assert names == ["a", "a"]


def test_a_turned_copy_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, size=(20, 24, 3)).astype(np.uint8)
    image = np.kron(coarse, np.ones((32, 32, 1), np.uint8))
    tile = Tile("t", image, np.zeros(image.shape[:2], np.uint8))
    copy = orient(image[64:320, 96:352], 5)
    noise = rng.integers(0, 255, size=(256, 256, 3), dtype=np.uint8)
    assert nearest_distances(copy[None], [tile])["q50"] == pytest.approx(0, abs=1e-3)
    assert nearest_distances(noise[None], [tile])["q50"] > 0.5


def test_budget_ends_by_steps_and_the_rate_falls_to_its_floor() -> None:
    budget = Budget(minutes=60, max_steps=100)
    assert budget.learning_rate(1.0, warm_up_steps=50) == pytest.approx(1 / 50, rel=1e-3)
    budget.steps = 99
    assert budget.learning_rate(1.0) == pytest.approx(0.05, abs=0.001)
    assert budget.progress == pytest.approx(0.99)
    assert not budget.over
    assert Budget(minutes=60, max_steps=100, steps=100).over
    assert Budget(minutes=1, seconds_before=61).over
