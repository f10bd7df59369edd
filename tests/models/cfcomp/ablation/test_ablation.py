"""The whole command on toy tiles with the shipped nano at 64 px, and the held-out loss by nano's own code."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from models.catalog import NANO_CHECKPOINT, nano_card
from models.categories import caption
from models.cfcomp.ablation.__main__ import main
from models.cfcomp.ablation.arms import ARMS, CONTRASTS, START
from models.cfcomp.ablation.figure import varied_scenes
from models.cfcomp.ablation.held_out import held_out_losses
from models.cfcomp.noise import draw_noise
from models.nano.architecture import training_scheduler
from models.nano.autoencoder import read_encoder
from models.nano.conditions import control_signal, tokenize
from models.nano.export import load_parts
from models.nano.tiles import to_signal
from models.nano.train import predict_velocity
from models.synthesis.pipeline import load_pipeline

# diffusers' UniPC hands a tensor to numpy in the old way; its warning is not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _tiles(folder: Path, names: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for name in names:
        coarse = rng.choice(np.array([1, 4, 5, 6, 8], np.uint8), size=(12, 12))
        mask = np.kron(coarse, np.ones((16, 16), np.uint8))
        image = np.clip(mask[..., None] * 30.0 + rng.normal(0, 9, (192, 192, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)


def test_the_command_trains_every_arm_judges_it_and_repeats_nothing(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    _tiles(data / "train", "abc", 0)
    _tiles(data / "val", "xyz", 1)
    sizes = ["--steps", "2", "--seeds", "3", "--batch-size", "4", "--resolution", "64", "--size", "32"]
    arguments = ["--data", str(data), "--out", str(out), *sizes, "--every", "18", "--judge-minutes", "0.01"]
    main(arguments)
    names = [START, *(arm.name for arm in ARMS)]
    found = json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    assert (found["settings"]["pictures"], found["settings"]["windows"]) == (6, 2)
    assert found["categories"] == ["bare land", "road", "tree", "water", "building", "mean"]
    for measure, columns in (("iou", 6), ("kid", 1), ("loss", 1)):
        assert list(found[measure]["arms"]) == names
        assert list(found[measure]["contrasts"]) == list(CONTRASTS)
        assert all(len(rows) == columns for rows in found[measure]["arms"].values())
    assert found["composed"][ARMS[0].name] == found["composed"][START] == 0
    losses = [np.load(path)["losses"].tolist() for path in sorted((out / "runs").iterdir())]
    assert all(one != other for one, other in combinations(losses, 2))
    table = (out / "ablation.md").read_text(encoding="utf-8")
    assert "| arm | bare land | road | tree | water | building | mIoU | KID | loss |" in table
    with Image.open(out / "ablation.png") as figure:
        assert figure.size == (7 * 132 + 4, 20 + 3 * 132)
    assert not list((out / "checkpoints").iterdir())

    kept = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    assert len(kept) == len(names)
    main(arguments)
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()} == kept
    assert json.loads((out / "ablation.json").read_text(encoding="utf-8")) == found


def test_the_held_out_loss_is_that_of_nanos_own_training_code() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, size=(3, 64, 64, 3), dtype=np.uint8)
    masks = np.kron(rng.choice(np.array([1, 4, 6], np.uint8), size=(3, 4, 4)), np.ones((16, 16), np.uint8))
    found = held_out_losses(load_pipeline(nano_card(), device="cpu"), pictures, masks, draws=1)

    parts, schedule = load_parts(NANO_CHECKPOINT), training_scheduler()
    noise, times, _ = draw_noise(0, 0, range(3), (12, 8, 8), 1000)
    with torch.no_grad():
        latents = read_encoder(parts.vae)(to_signal(pictures))
        tokens = tokenize(parts.tokenizer, [caption(np.unique(mask).tolist()) for mask in masks])
        noisy = schedule.add_noise(latents, noise, times)
        predicted = predict_velocity(parts, noisy, times, tokens, control_signal(masks))
        error = (predicted - schedule.get_velocity(latents, noise, times)).square().flatten(1).mean(1)
    np.testing.assert_allclose(found, error.numpy(), rtol=2e-3)


def test_scenes_with_many_classes_are_shown_one_of_each_tile() -> None:
    plain, half = np.ones((4, 4), np.uint8), np.repeat([[1], [1], [4], [4]], 4, axis=1).astype(np.uint8)
    four = np.repeat([[1], [4], [5], [6]], 4, axis=1).astype(np.uint8)
    masks = np.stack([plain, half, four, half, plain])
    assert varied_scenes(masks, ["a", "a", "a", "b", "c"], 2) == [2, 3]
    assert varied_scenes(masks, ["a", "a", "a", "b", "c"], 9) == [2, 3, 4]
