"""CF-Comp's loss: global over all latent pixels, local over those of objects (method, 5); and min-SNR weights."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models.categories import IGNORE


class Prediction(StrEnum):
    EPSILON = "epsilon"  # the network predicts the noise
    VELOCITY = "v_prediction"  # sqrt(a) noise - sqrt(1 - a) signal


class CfCompLoss(NamedTuple):
    """Three scalars: total = whole + local_weight * local. `whole` is what the method calls global."""

    total: Tensor
    whole: Tensor
    local: Tensor


def local_weights(masks: Tensor, latent_size: tuple[int, int]) -> Tensor:
    """Return how much of each latent pixel, or of a neighbour, is foreground, in [0, 1].  # (B, 1, h, w) float32

    `masks` are (B, H, W) of category ids, of which 0 and 255 are no foreground; H and W are whole multiples of
    `latent_size` (h, w). The mean over each cell, then the largest of the 3 x 3 cells around (dilation by one).

    Raises:
        ValueError: the sizes do not fit.
    """
    height, width = masks.shape[-2:]
    if height % latent_size[0] or width % latent_size[1]:
        raise ValueError(
            f"masks of {height}x{width} do not divide into {latent_size[0]}x{latent_size[1]} cells"
        )
    foreground = ((masks != 0) & (masks != IGNORE)).float()[:, None]  # (B, 1, H, W)
    cell = (height // latent_size[0], width // latent_size[1])
    pooled = functional.avg_pool2d(foreground, cell)  # (B, 1, h, w)
    return functional.max_pool2d(pooled, kernel_size=3, stride=1, padding=1)


def cf_comp_loss(error: Tensor, weights: Tensor, *, local_weight: float = 1.0) -> CfCompLoss:
    """Return the losses of a batch, in float32.

    `error` (B, C, h, w) holds squares, of which each latent pixel's mean over channels counts; weights of samples
    (min-SNR) or of channels have been multiplied in. `whole` is its mean; `local` is its mean weighted by `weights`
    (B, 1, h, w), for each sample alone, 0 for one without foreground, and then the mean over samples: so equal parts
    of a batch may be computed on several machines and averaged.
    """
    error = error.float().mean(dim=1, keepdim=True)  # (B, 1, h, w)
    weights = weights.to(error)
    weighted, mass = (weights * error).flatten(1).sum(1), weights.flatten(1).sum(1)  # (B,)
    # Where the mass is 0 so is the sum above it; dividing by 1 there keeps the gradient finite.
    local = (weighted / torch.where(mass > 0, mass, 1.0)).mean()
    whole = error.mean()
    return CfCompLoss(whole + local_weight * local, whole, local)


def min_snr_weights(
    alphas_cumprod: Tensor, times: Tensor, *, gamma: float, prediction: Prediction = Prediction.EPSILON
) -> Tensor:
    """Return min-SNR's weight of each sample's error (arXiv 2303.09556), in [0, 1] for noise.  # (B,) float32

    The signal-to-noise ratio is a / (1 - a) with a = `alphas_cumprod[times]`; the weight is min(snr, gamma) / snr
    where the network predicts noise and min(snr, gamma) / (snr + 1) where it predicts velocity.
    """
    signal = alphas_cumprod.to(times.device)[times].double()  # (B,)
    noise = 1 - signal
    if prediction is Prediction.EPSILON:
        return (gamma * noise / signal).clamp(max=1).float()  # infinite without signal: 1
    return torch.minimum(signal, gamma * noise).float()  # snr + 1 = 1 / noise
