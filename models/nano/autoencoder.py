"""The encoder: principal components of 8 x 8 px patches, written into an `AutoencoderTiny`.

Fitted in seconds where a learned encoder takes a CPU hours, exact on patches (no padding, no overlap), and so
cheap that training encodes every crop on the fly, in any orientation, scale and light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from diffusers import AutoencoderTiny
from torch import Tensor

from models.nano.architecture import LATENT_CHANNELS, LATENT_FACTOR
from models.nano.tiles import Tile, draw_crops, to_signal


def to_patches(signal: Tensor) -> Tensor:
    """Return (B, 3, H, W) as rows of 8 x 8 px patches, channel first.  # (B * H/8 * W/8, 192)"""
    return F.unfold(signal, LATENT_FACTOR, stride=LATENT_FACTOR).transpose(1, 2).flatten(0, 1)


def fit_encoder(vae: AutoencoderTiny, tiles: Sequence[Tile], *, seed: int = 0) -> None:
    """Write the leading 12 principal components of the tiles' patches into `vae.encoder`, in place.

    Component k is scaled to deviation (d_k / d_0) ** (1/3): the mean colour leads, as in the picture, but
    detail is not lost in the noise of the first diffusion steps. `scaling_factor` stays 1.
    """
    rng = np.random.default_rng(seed)
    images, _ = draw_crops(tiles, rng, count=400, size=128)
    patches = to_patches(to_signal(images))
    mean = patches.mean(0)
    variances, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    deviations = variances.flip(0)[:LATENT_CHANNELS].sqrt()
    components = vectors.flip(1)[:, :LATENT_CHANNELS].T  # (12, 192)
    scales = (deviations / deviations[0]) ** (1 / 3) / deviations
    weight = scales[:, None] * components
    _write_patch_projection(vae, weight.reshape(-1, 3, 8, 8), -weight @ mean)


@torch.no_grad()
def _write_patch_projection(vae: AutoencoderTiny, kernel: Tensor, bias: Tensor) -> None:
    """Set the encoder's five convolutions so that together they are `kernel` (12, 3, 8, 8) at stride 8.

    The first passes colours on, the next two gather 2 x 2 neighbours each (12, then 48 channels hold a 4 x 4
    patch completely), the third applies the kernel, the last passes on. A stride-2, 3 x 3 convolution reaches
    its own 2 x 2 block with taps 1 and 2; tap 0 belongs to the neighbour and stays zero.
    """
    passing, first, second, third, last = vae.encoder.layers
    for layer in vae.encoder.layers:
        layer.weight.zero_()
    for colour in range(3):
        passing.weight[colour, colour, 1, 1] = 2.0  # the encoder is given (x + 1) / 2; back to x
    passing.bias.zero_()
    passing.bias[:3] = -1.0
    for gather, channels in ((first, 3), (second, 12)):
        for row in range(2):
            for column in range(2):
                for channel in range(channels):
                    gather.weight[channel * 4 + row * 2 + column, channel, 1 + row, 1 + column] = 1.0
    for colour in range(3):
        for row in range(8):
            for column in range(8):
                # Bits of the position inside the patch: 1s were gathered first, 2s second, 4s now.
                held = (
                    (colour * 4 + (row & 1) * 2 + (column & 1)) * 4 + (row >> 1 & 1) * 2 + (column >> 1 & 1)
                )
                third.weight[: len(kernel), held, 1 + (row >> 2), 1 + (column >> 2)] = kernel[
                    :, colour, row, column
                ]
    for channel in range(len(kernel)):
        last.weight[channel, channel, 1, 1] = 1.0
    last.bias.copy_(bias)


@dataclass(frozen=True, slots=True)
class PatchEncoder:
    """The fitted encoder as one convolution: the same latents as `vae.encode`, a hundred times cheaper."""

    kernel: Tensor  # (12, 3, 8, 8)
    bias: Tensor  # (12,)

    def __call__(self, signal: Tensor) -> Tensor:
        """Return the latents of pictures (B, 3, H, W) in [-1, 1].  # (B, 12, H/8, W/8)"""
        return F.conv2d(signal, self.kernel, self.bias, stride=LATENT_FACTOR)


@torch.no_grad()
def read_encoder(vae: AutoencoderTiny) -> PatchEncoder:
    """Return the projection that a fitted encoder holds, read off from its answers to unit patches."""
    side = LATENT_FACTOR
    units = torch.cat([torch.zeros(1, 3 * side * side), torch.eye(3 * side * side)]).reshape(
        -1, 3, side, side
    )
    answers = vae.encode(units).latents[:, :, 0, 0] * vae.config.scaling_factor  # (193, 12)
    kernel = (answers[1:] - answers[0]).T.reshape(-1, 3, side, side)
    return PatchEncoder(kernel.contiguous(), answers[0])
