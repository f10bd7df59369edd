from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.cfcomp.encoding import Encoder
from models.model_card import ModelCard
from models.nano.autoencoder import read_encoder
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from tests.models.cfcomp.trainings import MadePairs

LATENT = 12 * 8 * 8 * 4  # bytes of one 64 px picture's latent of nano


def pictures(count: int, side: int = 64) -> NDArray[np.uint8]:
    pairs = MadePairs(count, side)
    return np.stack([pairs.read(number).picture for number in range(count)])


def nothing(count: int, channels: int = 12) -> torch.Tensor:
    return torch.zeros(count, channels, 8, 8)


@pytest.fixture(scope="module")
def toy_pipeline(toy: ModelCard) -> LoadedPipeline:
    return load_pipeline(toy, device="cpu", dtype=torch.float32)


def test_nano_s_latents_are_projected_patches(nano: LoadedPipeline) -> None:
    shown = pictures(3)
    signal = torch.from_numpy(shown.transpose(0, 3, 1, 2).astype(np.float32)) / 127.5 - 1
    found = Encoder(nano).latents(shown, torch.full((3, 12, 8, 8), 9.0))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, read_encoder(nano.pipe.vae)(signal), atol=2e-3, rtol=1e-3)


def test_a_distribution_s_latents_are_chosen_by_the_noise(toy_pipeline: LoadedPipeline) -> None:
    """Mean and log variance are read off the encoder itself: z = (mean + exp(log variance / 2) noise) 0.18215."""
    vae: Any = toy_pipeline.pipe.vae
    shown, noise = pictures(2), torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    signal = torch.from_numpy(shown.transpose(0, 3, 1, 2).astype(np.float32)) / 127.5 - 1
    with torch.no_grad():
        mean, log_variance = vae.quant_conv(vae.encoder(signal)).chunk(2, dim=1)
    wanted = (mean + (log_variance.clamp(-30, 20) / 2).exp() * noise) * 0.18215
    encoder = Encoder(toy_pipeline)
    for _ in range(2):  # computed, and remembered
        torch.testing.assert_close(encoder.latents(shown, noise), wanted, atol=1e-5, rtol=1e-4)
    other = encoder.latents(shown, -noise)
    torch.testing.assert_close((other + wanted) / 2, mean * 0.18215, atol=1e-5, rtol=1e-4)
    assert encoder.encoded == 2


def test_a_second_call_encodes_nothing(nano: LoadedPipeline) -> None:
    encoder, shown = Encoder(nano), pictures(4)
    first = encoder.latents(shown, nothing(4))
    second = encoder.latents(shown[[2, 0, 1, 3]], nothing(4))
    assert encoder.encoded == 4
    assert torch.equal(first[[2, 0, 1, 3]], second)
    changed = shown.copy()
    changed[1, 0, 0, 0] ^= 1
    encoder.latents(changed, nothing(4))
    assert encoder.encoded == 5


def test_what_is_handed_out_is_not_what_is_kept(nano: LoadedPipeline) -> None:
    encoder, shown = Encoder(nano), pictures(1)
    first = encoder.latents(shown, nothing(1))
    wanted = first.clone()
    first.zero_()
    assert torch.equal(encoder.latents(shown, nothing(1)), wanted)


def test_the_cache_is_bounded_in_bytes(nano: LoadedPipeline) -> None:
    encoder, shown = Encoder(nano, cache_bytes=3 * LATENT), pictures(6)
    whole = encoder.latents(shown, nothing(6))
    assert encoder.encoded == 6
    assert torch.equal(encoder.latents(shown[3:], nothing(3)), whole[3:]), "the last three are kept"
    assert encoder.encoded == 6
    assert torch.equal(encoder.latents(shown[:1], nothing(1)), whole[:1])
    assert encoder.encoded == 7


def test_a_cache_of_nothing_encodes_every_time(nano: LoadedPipeline) -> None:
    encoder, shown = Encoder(nano, cache_bytes=0), pictures(2)
    one, two = (encoder.latents(shown, nothing(2)) for _ in range(2))
    assert encoder.encoded == 4
    assert torch.equal(one, two)


def test_a_picture_that_is_twice_in_a_batch_is_encoded_and_counted_once(nano: LoadedPipeline) -> None:
    encoder, shown = Encoder(nano, cache_bytes=3 * LATENT), pictures(6)
    for number in range(6):  # each drives an older one out; what is counted must be what is there
        found = encoder.latents(shown[[number, number, number]], nothing(3))
        assert torch.equal(found[0], found[2])
    assert encoder.encoded == 6
    encoder.latents(shown[3:], nothing(3))
    assert encoder.encoded == 6


def test_texts_are_the_pipeline_s_own(nano: LoadedPipeline) -> None:
    texts = ("A satellite image of road", "", "A satellite image of road")
    found = Encoder(nano).texts(texts)
    ids = nano.pipe.tokenizer(
        list(texts), padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        wanted = nano.pipe.text_encoder(ids)[0]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert not found.requires_grad


def test_controls_are_ids_as_the_pipeline_shows_them(nano: LoadedPipeline) -> None:
    """Id / 255 on three channels; ignore is shown as 0 (method, 1)."""
    masks = np.array([[[0, 25], [66, 255]]], np.uint8)
    shown = Encoder(nano).controls(masks)
    wanted = torch.tensor([[0.0, 25.0], [66.0, 0.0]]) / 255
    assert shown.shape == (1, 3, 2, 2)
    assert all(torch.equal(shown[0, channel], wanted) for channel in range(3))
