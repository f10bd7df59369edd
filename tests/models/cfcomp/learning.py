"""What a training learns from nothing: a model that knows no picture, and how well it comes to know some."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray

from models.catalog import NANO_CHECKPOINT, nano_card
from models.cfcomp.denoiser import Denoiser
from models.cfcomp.encoding import Encoder
from models.model_card import ModelCard
from models.nano.architecture import build_controlnet, build_unet
from models.sample import Condition
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from models.synthesis.synthesize import synthesize
from tests.models.cfcomp.trainings import MadePairs, run, small

CHANNELS = (32, 64)
PLAIN = {
    "trained": "unet",
    "ema_decay": None,
    "learning_rate": 4e-3,
    "warmup_steps": 10,
    "lr_schedule": "cosine",
    "prompt_dropout": 0,
    "orientations": False,
    "single_category": 0,
    "max_zoom_out": 1,
    "cf_comp": {"probability": 0},
    "checkpoint_every": 100_000,
}


def untrained(folder: Path) -> ModelCard:
    """Nano's parts, UNet and ControlNet narrower and with their start values, saved in a new folder."""
    shutil.copytree(NANO_CHECKPOINT, folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for part, network in (("unet", build_unet(CHANNELS)), ("controlnet", build_controlnet(CHANNELS))):
            network.save_pretrained(folder / part)
    return replace(nano_card(), base=str(folder), controlnet=str(folder), sha256={}, digest=None)


@dataclass(frozen=True)
class Known:
    """What was learned, and the squared errors of answers to fixed noise, (time, pair, 8, 8), before and after."""

    pairs: MadePairs
    loaded: LoadedPipeline
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def errors(loaded: LoadedPipeline, pairs: MadePairs) -> NDArray[np.float64]:
    """Squared errors of the velocity at eight times, with noise that no training draws."""
    shown = [pairs.read(number) for number in range(len(pairs))]
    encoder = Encoder(loaded)
    latents = encoder.latents(np.stack([pair.picture for pair in shown]), torch.zeros(0))
    text = encoder.texts([pair.text for pair in shown])
    control = encoder.controls(np.stack([pair.mask for pair in shown]))
    schedule = DDPMScheduler.from_config(dict(loaded.scheduler_config))
    denoiser = Denoiser(loaded.pipe.controlnet, loaded.pipe.unet).eval()
    draw = torch.Generator().manual_seed(99)
    found = []
    for time in range(62, 1000, 125):
        times, noise = torch.full((len(shown),), time), torch.randn(latents.shape, generator=draw)
        with torch.no_grad():
            predicted = denoiser(schedule.add_noise(latents, noise, times), times, text, control)
        error = (predicted - schedule.get_velocity(latents, noise, times)).square().mean(1)
        found.append(error.double().numpy())
    return np.stack(found)


def learn(steps: int, pairs: MadePairs, **changes: Any) -> Known:
    """Train an untrained model on the pairs, whole and unturned, each step on all of four."""
    with tempfile.TemporaryDirectory() as folder:
        base = untrained(Path(folder) / "untrained")
        before = load_pipeline(base, device="cpu", dtype=torch.float32)
        recipe = small(**(PLAIN | {"steps": steps} | changes))
        found = run(Path(folder) / "vault", recipe, base=base, pairs=pairs)
        return Known(pairs, found.loaded, errors(before, pairs), errors(found.loaded, pairs))


def agreement(known: Known) -> NDArray[np.float64]:
    """Share of pixels (picture, mask) of made pictures that have the colour of a mask's category.

    Nearest mean colour, the means being those of the real pictures after the autoencoder, which has seen no such
    colours.
    """
    pairs = [known.pairs.read(number) for number in range(len(known.pairs))]
    vae = known.loaded.pipe.vae
    signal = torch.from_numpy(np.stack([pair.picture for pair in pairs])).movedim(-1, 1).float() / 127.5 - 1
    with torch.no_grad():
        decoded = vae.decode(vae.encode(signal).latents).sample
    seen = ((decoded.movedim(1, -1).numpy() + 1) * 127.5).clip(0, 255)  # (4, 64, 64, 3)
    masks = np.stack([pair.mask for pair in pairs])
    ids = np.unique(masks)
    means = np.stack([seen[masks == number].mean(axis=0) for number in ids])
    made = synthesize(
        known.loaded,
        [Condition(k, pair.mask, pair.text, seed=50 + k) for k, pair in enumerate(pairs)],
        num_inference_steps=10,
        guidance_scale=1.0,
        controlnet_conditioning_scale=1.0,
        scheduler=known.loaded.card.defaults.scheduler,
    )
    found = []
    for sample in made:
        nearest = ids[np.square(sample.image[:, :, None].astype(float) - means).sum(-1).argmin(-1)]
        found.append([(nearest == mask).mean() for mask in masks])
    return np.array(found)


def check_layout(known: Known, *, own: float, apart: float) -> None:
    shares = agreement(known)
    of_own = np.diag(shares).mean()
    of_others = shares[~np.eye(len(shares), dtype=bool)].mean()
    assert of_own > own, shares
    assert of_own > of_others + apart, shares
    assert (shares.argmax(axis=1) == np.arange(len(shares))).all(), f"{shares}: its own mask fits each best"
