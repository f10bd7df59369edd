"""The recipe at toy size: it learns, keeps places apart, goes on after a stop, and writes what can be loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.nano.budget import Budget
from models.nano.tiles import Tile
from models.rfilter.train import (
    center_features,
    class_indices,
    present_ids,
    split_tiles,
    train_segmenter,
    vary_light,
)
from tests.models.rfilter.scenes import toy_tile


def test_a_few_steps_tell_categories_by_colour(tmp_path: Path) -> None:
    tiles = [toy_tile(f"t{seed}", seed, 256) for seed in range(3)]
    state = tmp_path / "state.pt"
    network, ids = train_segmenter(tiles, Budget(5, max_steps=25), state, size=64, batch_size=4)
    assert ids == (1, 4, 5, 6, 8)
    from models.nano.tiles import to_signal

    unseen = toy_tile("u", 9, 256)
    with torch.no_grad():
        logits, feature = network(to_signal(unseen.image[None]))
    found = logits[0].argmax(0).numpy()
    assert (found == class_indices(unseen.mask, ids)).mean() > 0.5
    assert abs(float(feature.mean())) < 1  # centred: the pooled bottom itself is never negative


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    from models.rfilter.train import _save_state
    from models.rfilter.unet import UNet

    torch.manual_seed(0)
    network = UNet(2)
    optimizer = torch.optim.AdamW(network.parameters())
    _save_state(tmp_path / "state.pt", network, optimizer, Budget(5, max_steps=7, steps=7))
    tile = Tile(
        "t", np.zeros((64, 64, 3), np.uint8), np.array([[1, 4]] * 32, np.uint8).repeat(2, 0).repeat(32, 1)
    )
    resumed, _ = train_segmenter([tile], Budget(5, max_steps=7), tmp_path / "state.pt", size=64)
    for name, value in network.state_dict().items():
        if name != "center":
            torch.testing.assert_close(resumed.state_dict()[name], value)


def test_places_are_kept_apart_and_only_categories_are_learnt() -> None:
    mask = np.array([[0, 4], [255, 1]], np.uint8)
    tiles = [Tile(name, np.zeros((2, 2, 3), np.uint8), mask) for name in ("tile7_1", "tile8_1", "tile8_2")]
    seen, held = split_tiles(tiles, ("tile8",))
    assert [tile.name for tile in seen] == ["tile7_1"]
    assert [tile.name for tile in held] == ["tile8_1", "tile8_2"]
    assert present_ids(tiles) == (1, 4)
    np.testing.assert_array_equal(class_indices(mask, (1, 4)), [[255, 1], [255, 0]])


def test_other_light_stays_within_range_and_differs() -> None:
    torch.manual_seed(0)
    signal = torch.linspace(-1, 1, 4 * 3 * 16 * 16).reshape(4, 3, 16, 16)
    varied = vary_light(signal)
    assert varied.shape == signal.shape
    assert float(varied.min()) >= -1
    assert float(varied.max()) <= 1
    assert float((varied - signal).abs().mean()) > 0.02


def test_features_are_centred_on_the_training_crops() -> None:
    from models.rfilter.unet import UNet

    torch.manual_seed(0)
    network = UNet(5).eval()
    tile = toy_tile("t", 0, 256)
    center_features(network, [tile], size=64)
    from models.nano.tiles import draw_crops, to_signal

    images, _ = draw_crops([tile], np.random.default_rng(4), count=64, size=64)
    with torch.no_grad():
        mean = torch.cat([network(to_signal(image[None]))[1] for image in images]).mean(0)
    assert float(mean.abs().max()) < 1e-4
