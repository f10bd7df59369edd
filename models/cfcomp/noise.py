"""What is random in a step of diffusion training, made from (seed, step, place) alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def draw_noise(
    seed: int, step: int, places: range, shape: tuple[int, int, int], times: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each sample's noise, time step and the choice from its latent's distribution.

    (B, C, h, w) float32, (B,) int64 in [0, `times`), (B, C, h, w) float32: functions of (seed, step, place) alone.
    """
    rngs = [np.random.default_rng([seed, 5, step, place]) for place in places]
    moments = [int(rng.integers(times)) for rng in rngs]
    noises = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in rngs])
    choices = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in rngs])
    return torch.from_numpy(noises), torch.tensor(moments), torch.from_numpy(choices)
