"""The training's own loss on pairs that no training has seen, with the same noise for every model."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray

from models.cfcomp.denoiser import Denoiser, prediction_of
from models.cfcomp.encoding import Encoder
from models.cfcomp.loss import Prediction
from models.cfcomp.noise import draw_noise
from models.cfcomp.triple import caption_of
from models.synthesis.pipeline import LoadedPipeline

_SEED = 0
_BATCH = 16


@torch.no_grad()
def held_out_losses(
    loaded: LoadedPipeline, pictures: NDArray[np.uint8], masks: NDArray[np.uint8], *, draws: int = 2
) -> NDArray[np.float64]:
    """Return each pair's squared error, the mean over `draws` of noise and time step.  # (N,)

    `pictures` (N, S, S, 3) and `masks` (N, S, S), each described by its own categories. No weighting and no lambda:
    what is measured is the same for every arm.
    """
    noises = DDPMScheduler.from_config(dict(loaded.scheduler_config))
    prediction, encoder = prediction_of(loaded), Encoder(loaded)
    denoiser = Denoiser(loaded.pipe.controlnet, loaded.pipe.unet).eval()
    side = masks.shape[1] // loaded.pipe.vae_scale_factor
    shape = (loaded.pipe.unet.config.in_channels, side, side)
    found = np.zeros((draws, len(masks)))
    for draw in range(draws):
        for start in range(0, len(masks), _BATCH):
            places = range(start, min(start + _BATCH, len(masks)))
            part = slice(places.start, places.stop)
            noise, times, choice = draw_noise(_SEED, draw, places, shape, len(noises))
            noise, times = noise.to(loaded.device), times.to(loaded.device)  # (b, C, h, w), (b,)
            latents = encoder.latents(pictures[part], choice)  # (b, C, h, w)
            noisy = noises.add_noise(latents, noise, times)  # (b, C, h, w)
            text = encoder.texts([caption_of(mask) for mask in masks[part]])  # (b, 77, D)
            predicted = denoiser(noisy, times, text, encoder.controls(masks[part]))  # (b, C, h, w)
            is_noise = prediction is Prediction.EPSILON
            target = noise if is_noise else noises.get_velocity(latents, noise, times)
            found[draw, part] = (predicted.float() - target).square().mean((1, 2, 3)).cpu().numpy()
    return np.asarray(found.mean(0), dtype=np.float64)
