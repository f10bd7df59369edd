"""Crops keep picture and mask together, and ids exact."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.nano.conditions import augment_conditions, control_signal, loss_weights
from models.nano.tiles import Tile, draw_crops, load_tiles, orient

IDS = np.array([0, 1, 4, 5, 6, 8], dtype=np.uint8)


def blocks(seed: int, shape: tuple[int, int] = (20, 26)) -> Tile:
    """A tile of 16 px blocks whose picture shows ten times the id on every channel."""
    mask = np.kron(np.random.default_rng(seed).choice(IDS, size=shape), np.ones((16, 16), np.uint8))
    return Tile(f"t{seed}", np.repeat((mask * 10)[..., None], 3, axis=2), mask)


def test_the_eight_orientations_differ_and_keep_all_pixels() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    seen = {orient(array, k).tobytes() + bytes(orient(array, k).shape) for k in range(8)}
    assert len(seen) == 8
    assert all(sorted(orient(array, k).ravel()) == list(range(12)) for k in range(8))


def test_unscaled_crops_stay_aligned() -> None:
    images, masks = draw_crops([blocks(0), blocks(1)], np.random.default_rng(0), count=12, size=128)
    assert images.shape == (12, 128, 128, 3)
    np.testing.assert_array_equal(images[..., 1], masks * 10)


def test_zoomed_crops_hold_no_new_id_and_stay_aligned() -> None:
    images, masks = draw_crops(
        [blocks(2)], np.random.default_rng(1), count=12, size=128, largest_zoom_out=1.9
    )
    assert set(np.unique(masks)) <= set(IDS)
    assert (np.abs(images[..., 0].astype(int) - masks.astype(int) * 10) <= 1).mean() > 0.8  # but for edges


def test_tiles_too_small_are_left_out() -> None:
    _, masks = draw_crops(
        [blocks(0, (4, 4)), Tile("b", np.zeros((256, 256, 3), np.uint8), np.full((256, 256), 6, np.uint8))],
        np.random.default_rng(0),
        count=8,
        size=128,
    )
    assert set(np.unique(masks)) == {6}


def test_a_picture_without_mask_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="no pictures"):
        load_tiles(tmp_path)
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(FileNotFoundError, match="cannot be read"):
        load_tiles(tmp_path)


def test_control_is_the_id_over_255_on_three_channels() -> None:
    mask = np.array([[[0, 8], [25, 66]]], dtype=np.uint8)
    np.testing.assert_array_equal(
        control_signal(mask).numpy(), np.stack([mask / np.float32(255)] * 3, axis=1).astype(np.float32)
    )


def test_single_category_copies_agree_in_mask_and_text() -> None:
    mask = np.array([[[0, 1], [4, 8]]] * 50, dtype=np.uint8)
    names = {1: "bare land", 4: "road", 8: "building"}
    controls, prompts = augment_conditions(
        mask, np.random.default_rng(0), single_category_probability=1.0, no_prompt_probability=0.0
    )
    for control, prompt in zip(controls, prompts, strict=True):
        kept = set(np.unique(control)) - {0}
        assert len(kept) == 1
        assert prompt == f"A satellite image of {names[kept.pop()]}"
    assert len(set(prompts)) == 3


def test_plain_conditions_name_everything_and_dropout_empties_the_text() -> None:
    mask = np.array([[[0, 1], [4, 8]]] * 400, dtype=np.uint8)
    controls, prompts = augment_conditions(mask, np.random.default_rng(0), single_category_probability=0.0)
    np.testing.assert_array_equal(controls, mask)
    assert set(prompts) == {"", "A satellite image of bare land, road, building"}
    assert 30 < prompts.count("") < 95


def test_loss_weights_favour_small_things() -> None:
    mask = np.full((1, 8, 16), 1, dtype=np.uint8)
    mask[:, :, 8:] = 8
    sand, roof = loss_weights(mask)[0, 0, 0].tolist()
    assert roof / sand == pytest.approx(2.0)
    assert (roof + sand) / 2 == pytest.approx(1.0)
