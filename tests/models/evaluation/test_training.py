"""A run learns, is the same for the same seed, and is kept; a network answers at any size."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from models.evaluation.arms import RECIPES, Arm, Source
from models.evaluation.batches import draw_batches
from models.evaluation.crops import Crops, cut_crops
from models.evaluation.runs import run_arm
from models.evaluation.scores import class_iou, class_weights
from models.evaluation.segmenter import Segmenter
from models.evaluation.training import tile_confusions, train_segmenter
from models.nano.tiles import Tile

CATEGORIES = (4, 6)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def toy_tile(name: str, seed: int, shape: tuple[int, int] = (64, 96)) -> Tile:
    """Bright squares (4) on dark ground (6), a corner nobody labelled, and noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array([4, 6], np.uint8), size=(-(-shape[0] // 16), -(-shape[1] // 16)))
    mask = np.kron(coarse, np.ones((16, 16), np.uint8))[: shape[0], : shape[1]]
    image = np.where(mask == 4, 190, 60)[..., None] + rng.normal(0, 20, (*shape, 3))
    mask = mask.copy()
    mask[:8, :8] = 0
    return Tile(name, np.clip(image, 0, 255).astype(np.uint8), mask)


def toy_sources() -> dict[Source, Crops]:
    crops = cut_crops([toy_tile("a", 0), toy_tile("b", 1)], 32)
    return dict.fromkeys(Source, crops)


def test_training_learns_two_colours_and_judges_every_labelled_pixel_once() -> None:
    sources, weights = toy_sources(), np.ones(2)
    batches = draw_batches(RECIPES[Arm.SYNTHETIC], sources, seed=0, steps=25, half=4, size=32)
    network = train_segmenter(batches, CATEGORIES, weights=weights, steps=25, seed=0)
    tiles = [toy_tile("c", 2, (50, 71)), toy_tile("d", 3, (64, 64))]
    counts = tile_confusions(network, tiles, CATEGORIES)
    assert counts.shape == (2, 2, 2)
    assert counts.sum((1, 2)).tolist() == [50 * 71 - 64, 64 * 64 - 64]
    assert class_iou(counts.sum(0)).min() > 0.7


def test_the_same_seed_trains_the_same_network_and_leaves_the_generator_alone() -> None:
    def train(seed: int) -> torch.Tensor:
        batches = draw_batches(RECIPES[Arm.REAL_SMALL], toy_sources(), seed=0, steps=2, half=2, size=32)
        network = train_segmenter(batches, CATEGORIES, weights=np.ones(2), steps=2, seed=seed)
        return network.scores.weight.detach()

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again, other = train(1), train(1), train(2)
    torch.testing.assert_close(torch.rand(3), expected)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)


def test_a_batch_without_labels_changes_nothing_and_breaks_nothing() -> None:
    images = np.full((2, 32, 32, 3), 100, np.uint8)
    blank = [(images, np.zeros((2, 32, 32), np.uint8))] * 2
    network = train_segmenter(blank, CATEGORIES, weights=np.ones(2), steps=2, seed=1)
    torch.manual_seed(1)
    fresh = Segmenter(len(CATEGORIES))
    for left, right in zip(network.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_pictures_of_one_batch_do_not_change_each_other() -> None:
    torch.manual_seed(0)
    network = Segmenter(3).train()
    images = torch.randn(3, 3, 32, 48)
    together = network(images)
    assert together.shape == (3, 3, 16, 24)
    torch.testing.assert_close(together[:1], network(images[:1]), rtol=1e-4, atol=1e-5)


def test_a_run_is_kept_until_what_it_depends_on_changes(tmp_path: Path) -> None:
    sources = toy_sources()
    weights = class_weights(sources[Source.REAL_SMALL].labels, CATEGORIES)

    def run(steps: int = 2, test_seed: int = 5) -> list[int]:
        found = run_arm(
            Arm.REAL_REPEATED,
            sources,
            [toy_tile("t", test_seed)],
            categories=CATEGORIES,
            weights=weights,
            seed=0,
            steps=steps,
            half=2,
            window=32,
            folder=tmp_path,
        )
        return [int(k) for k in found.ravel()]

    first = run()
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"real_repeated-0-[0-9a-f]{12}\.json", path.name)
    written = path.stat().st_mtime_ns
    assert run() == first
    assert path.stat().st_mtime_ns == written
    run(steps=3)
    run(steps=3, test_seed=6)
    assert len(list(tmp_path.iterdir())) == 3
    sources[Source.REAL_SMALL] = sources[Source.REAL_SMALL].take([0, 1, 2])
    run(steps=3, test_seed=6)
    assert len(list(tmp_path.iterdir())) == 4
