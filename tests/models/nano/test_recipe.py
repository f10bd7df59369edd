"""The whole recipe at two steps on small made-up tiles: it exports, resumes, and what it exports loads."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.nano.budget import Budget
from models.nano.decoder import prepare_autoencoder, train_decoder
from models.nano.export import build_parts
from models.nano.sampling import load_checkpoint, sample_pictures
from models.nano.tiles import load_tiles
from models.nano.train import main, train_diffusion

# diffusers' UniPC hands a tensor to numpy in the old way; its warning is not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for name in ("a", "b"):
        mask = np.kron(rng.choice(np.array([1, 4, 6, 8], np.uint8), size=(5, 6)), np.ones((32, 32), np.uint8))
        image = np.clip(mask[..., None] * 25.0 + rng.normal(0, 9, (160, 192, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
    return folder


def test_the_recipe_trains_exports_and_goes_on(data: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tiles = load_tiles(data)
    vae = prepare_autoencoder(tmp_path, tiles)
    train_decoder(vae, tiles, Budget(5, max_steps=2), tmp_path, adversarial_from=0.5, batch_size=1)
    encoder = vae.encoder.layers[3].weight.clone()

    def run(steps: int) -> None:
        parts = build_parts(tmp_path, channels=(16, 32, 48)).with_autoencoder(vae)
        train_diffusion(
            parts, tiles, Budget(5, max_steps=steps), tmp_path, small_batch=2, batch=1, sizes=(64, 128)
        )

    run(2)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["steps"] == 2
    run(3)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["steps"] == 3
    assert state["updates"] == 3

    pipe = load_checkpoint(tmp_path / "checkpoint")
    torch.testing.assert_close(
        pipe.vae.encoder.layers[3].weight, encoder, atol=1e-2, rtol=1e-2
    )  # stored in fp16
    picture = sample_pictures(pipe, np.full((1, 64, 64), 6, np.uint8), [0], steps=2, guidance=2.0)
    assert picture.shape == (1, 64, 64, 3)
    card = json.loads((tmp_path / "checkpoint" / "earthsynth.json").read_text(encoding="utf-8"))
    assert card["category_ids"] == [1, 4, 5, 6, 8]
    assert not list(tmp_path.glob(".checkpoint*"))


def test_the_command_line_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--out", "nowhere"])
    assert "--data" in capsys.readouterr().err
