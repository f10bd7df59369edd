"""The arms differ in what fills a batch, and in nothing else."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.evaluation.arms import COMPARISONS, RECIPES, Arm, Source
from models.evaluation.batches import draw_batches, vary_colour
from models.evaluation.crops import Crops

GREY = {source: 10 + 40 * place for place, source in enumerate(Source)}


def sources() -> dict[Source, Crops]:
    """Crops whose red says the source, green the crop and blue the column; labels 4 left, 6 right."""
    made = {}
    for source, grey in GREY.items():
        images = np.zeros((6, 32, 32, 3), np.uint8)
        images[..., 0] = grey
        images[..., 1] = np.arange(6)[:, None, None]
        images[..., 2] = np.arange(32)[None, None]
        labels = np.full((6, 32, 32), 4, np.uint8)
        labels[:, :, 16:] = 6
        made[source] = Crops(images, labels, tuple("abcdef"))
    return made


def batches(arm: Arm, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(draw_batches(RECIPES[arm], sources(), seed=seed, steps=5, half=4, size=16))


@pytest.mark.parametrize("arm", list(Arm))
def test_every_arm_has_the_same_steps_and_its_own_filling(arm: Arm) -> None:
    found = batches(arm)
    recipe = RECIPES[arm]
    assert len(found) == 5
    for images, labels in found:
        assert images.shape == (4 if arm is Arm.REAL_SMALL else 8, 16, 16, 3)
        assert labels.shape == images.shape[:3]
        if not recipe.augmented:
            assert set(images[:4, ..., 0].ravel()) == {GREY[recipe.first]}
            assert set(images[4:, ..., 0].ravel()) == ({GREY[recipe.second]} if recipe.second else set())
            np.testing.assert_array_equal(labels, np.where(images[..., 2] < 16, 4, 6))
        assert set(labels.ravel()) <= {4, 6}


def test_arms_of_one_seed_see_the_same_real_windows_in_the_same_order() -> None:
    plain = [arm for arm in Arm if RECIPES[arm].first is Source.REAL_SMALL and not RECIPES[arm].augmented]
    assert len(plain) == 5
    for one, other in pairwise(plain):
        for (images, labels), (more_images, more_labels) in zip(batches(one), batches(other), strict=True):
            np.testing.assert_array_equal(images[:4], more_images[:4])
            np.testing.assert_array_equal(labels[:4], more_labels[:4])
    assert (batches(plain[0], seed=0)[0][0] != batches(plain[0], seed=1)[0][0]).any()
    repeated, _ = batches(Arm.REAL_REPEATED)[0]
    assert (repeated[:4] != repeated[4:]).any()


def test_augmented_labels_stay_on_their_pixels() -> None:
    crop = np.zeros((1, 64, 64), np.uint8)
    crop[0, 10:30, 20:50] = 1
    shown = np.repeat(np.where(crop, 220, 30).astype(np.uint8)[..., None], 3, axis=-1)
    source = {Source.REAL_SMALL: Crops(shown, np.where(crop, 8, 1).astype(np.uint8), ("a",))}
    for images, labels in draw_batches(RECIPES[Arm.CLASSIC], source, seed=0, steps=10, half=4, size=32):
        # Only pixels at an edge may differ, where a scaled picture is between bright and dark.
        bright = images.mean(-1) > 125
        assert ((labels == 8) == bright).mean() > 0.97


def test_colour_varies_and_the_scene_stays() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(60, 180, size=(32, 32, 3), dtype=np.uint8)
    changed = [vary_colour(image, rng) for _ in range(20)]
    assert np.std([c.mean() for c in changed]) > 3
    assert all(np.corrcoef(c.mean(-1).ravel(), image.mean(-1).ravel())[0, 1] > 0.95 for c in changed)


def test_comparisons_name_each_pair_once() -> None:
    assert len(set(COMPARISONS)) == len(COMPARISONS)
    assert {arm for arm, reference in COMPARISONS if reference is Arm.REAL_SMALL} == set(Arm) - {
        Arm.REAL_SMALL
    }
