"""Start values and the fitted encoder against hand formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.nano.architecture import build_autoencoder, build_controlnet
from models.nano.autoencoder import fit_encoder, read_encoder
from models.nano.conditions import control_signal
from models.nano.tiles import Tile, draw_crops, to_signal


@pytest.fixture(scope="module")
def tiles() -> list[Tile]:
    rng = np.random.default_rng(3)
    smooth = np.cumsum(rng.normal(size=(160, 192, 3)), axis=0)
    image = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    return [Tile("smooth", image, rng.choice(np.array([0, 1, 4, 5, 6, 8], np.uint8), size=(160, 192)))]


def test_ramps_separate_each_pair_of_neighbouring_ids() -> None:
    first = build_controlnet().controlnet_cond_embedding.conv_in
    ids = np.arange(67, dtype=np.uint8)
    with torch.no_grad():
        answers = first(control_signal(ids.reshape(1, 1, 67)))[0, :, 0].numpy()  # (16, 67)
    knots = np.array([k + 0.5 for k in range(10)] + [12 + 54 * k / 5 for k in range(6)])
    np.testing.assert_allclose(answers, (ids[None] - knots[:, None]) / 3, atol=2e-5)
    seen = answers / (1 + np.exp(-answers))  # the embedding's SiLU
    steps = np.abs(np.diff(seen, axis=1)).max(axis=0)
    assert steps.min() > 0.15  # default start values give about 0.002


def test_encoder_holds_the_principal_components(tiles: list[Tile]) -> None:
    vae = build_autoencoder()
    fit_encoder(vae, tiles)
    image = to_signal(tiles[0].image)[None]
    with torch.no_grad():
        latents = vae.encode(image).latents[0].numpy()  # (12, 20, 24)
    patches = np.stack(
        [
            image[0, :, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8].numpy().ravel()
            for r in range(20)
            for c in range(24)
        ]
    )
    drawn = to_signal(draw_crops(tiles, np.random.default_rng(0), count=400, size=128)[0]).numpy()
    fitted_on = drawn.reshape(400, 3, 16, 8, 16, 8).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 192)
    _, _, components = np.linalg.svd(fitted_on[::3] - fitted_on.mean(0), full_matrices=False)
    expected = (patches - fitted_on.mean(0)) @ components[0]
    assert abs(np.corrcoef(expected, latents[0].ravel())[0, 1]) > 0.999
    assert 0.3 < latents.std() < 1.5


def test_latents_of_a_crop_are_the_crop_of_the_latents(tiles: list[Tile]) -> None:
    vae = build_autoencoder()
    fit_encoder(vae, tiles)
    image = to_signal(tiles[0].image)[None]
    with torch.no_grad():
        whole = vae.encode(image).latents
        part = vae.encode(image[:, :, 16:80, 40:168]).latents
    torch.testing.assert_close(part, whole[:, :, 2:10, 5:21], atol=1e-5, rtol=0)
    torch.testing.assert_close(read_encoder(vae)(image), whole, atol=1e-4, rtol=0)
