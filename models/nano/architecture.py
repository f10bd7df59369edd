"""The parts of nano: ordinary diffusers and transformers classes at toy size, with their start values.

The picture side is a factor-8 `AutoencoderTiny` with 12 latent channels; the rest is Stable Diffusion 1.x in
small, so that one `StableDiffusionControlNetPipeline` loads nano and the published EarthSynth weights alike.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    DDPMScheduler,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

NATIVE_SIZE = 256  # pixels
LATENT_FACTOR = 8  # pixels per latent cell, along each side
LATENT_CHANNELS = 12
TEXT_WIDTH = 64
TEXT_TOKENS = 77
RAMP_WIDTH = 3.0  # in ids: how far from its knot a threshold takes to open
UNET_CHANNELS = (64, 128, 192)
CONDITION_CHANNELS = (16, 16, 32, 64)  # three halvings, as the autoencoder's


def build_autoencoder() -> AutoencoderTiny:
    """Return an untrained autoencoder: (B, 3, H, W) in [-1, 1] to (B, 12, H/8, W/8) and back.

    The encoder has no residual block, so it is linear, and wide enough (48 = 3 x 4 x 4) for
    `autoencoder.fit_encoder` to make it an exact principal component analysis of 8 x 8 px patches.
    """
    return AutoencoderTiny(
        encoder_block_out_channels=(48, 48, 48, 48),
        num_encoder_blocks=(0, 0, 0, 0),
        decoder_block_out_channels=(48, 48, 48, 48),
        num_decoder_blocks=(3, 3, 1, 0),
        latent_channels=LATENT_CHANNELS,
    )


def build_unet(channels: tuple[int, ...] = UNET_CHANNELS) -> UNet2DConditionModel:
    """Return an untrained denoiser of latents (B, 12, h, w), with attention below full latent size only."""
    return UNet2DConditionModel(
        sample_size=NATIVE_SIZE // LATENT_FACTOR,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        up_block_types=("CrossAttnUpBlock2D",) * (len(channels) - 1) + ("UpBlock2D",),
        **_shared_settings(channels),
    )


def build_controlnet(channels: tuple[int, ...] = UNET_CHANNELS) -> ControlNetModel:
    """Return an untrained ControlNet whose condition is the class id / 255 on three channels."""
    controlnet = ControlNetModel(
        in_channels=LATENT_CHANNELS,
        conditioning_channels=3,
        conditioning_embedding_out_channels=CONDITION_CHANNELS,
        **_shared_settings(channels),
    )
    start_with_ramps(controlnet)
    return controlnet


def _shared_settings(channels: tuple[int, ...]) -> dict[str, Any]:
    return {
        "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (len(channels) - 1),
        "block_out_channels": channels,
        "layers_per_block": 1,
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": 4,  # diffusers reads this as the number of heads
        "norm_num_groups": 16,
    }


def ramp_knots(channels: int) -> Tensor:
    """Return the ids at which the thresholds open: 0.5 … 9.5, then evenly from 12 to 66.  # (channels,)"""
    near = torch.arange(min(channels, 10)) + 0.5
    return torch.cat([near, torch.linspace(12, 66, channels - len(near))])


def start_with_ramps(controlnet: ControlNetModel) -> None:
    """Set the embedding's first convolution to soft thresholds over the id axis, in place.

    Neighbouring ids differ by 1/255 at the input, far below what default start values resolve: without this a
    small model learns textures and ignores its mask. Channel k becomes (id - knot_k) / RAMP_WIDTH. The layers
    after it start with a gain that keeps the signal's size (PyTorch's default start divides it by 300 on the way),
    and the last one small instead of at zero, because UNet and ControlNet are trained together from scratch.
    """
    embedding = controlnet.controlnet_cond_embedding
    first: nn.Conv2d = embedding.conv_in
    with torch.no_grad():
        first.weight.zero_()
        first.weight[:, :, 1, 1] = 255 / (3 * RAMP_WIDTH)  # 3 equal channels add up
        embedding.conv_in.bias.copy_(-ramp_knots(first.out_channels) / RAMP_WIDTH)
        for layer in embedding.blocks:
            nn.init.normal_(layer.weight, std=2 / math.sqrt(layer.weight[0].numel()))
            nn.init.zeros_(layer.bias)
        nn.init.kaiming_normal_(embedding.conv_out.weight)
        embedding.conv_out.weight.mul_(0.3)


def build_text_encoder(vocabulary_size: int, start_id: int, end_id: int) -> CLIPTextModel:
    """Return an untrained CLIP text model of width 64; padding is the end token, as in Stable Diffusion."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=TEXT_WIDTH * 4,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_TOKENS,
            projection_dim=TEXT_WIDTH,
            bos_token_id=start_id,
            eos_token_id=end_id,
            pad_token_id=end_id,
        )
    )


def training_scheduler() -> DDPMScheduler:
    """Return Stable Diffusion's noise schedule, for training on velocity (see `_NOISE`)."""
    return DDPMScheduler(**_NOISE)


def sampling_scheduler() -> UniPCMultistepScheduler:
    """Return UniPC over the training schedule; the pipeline swaps it by name on request."""
    return UniPCMultistepScheduler(**_NOISE)


_NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    # Stable Diffusion 2's velocity. Under strong noise it is the picture itself, which the mask tells most about;
    # on predicted noise, 500 steps of this recipe had learned nothing from the mask (arXiv 2202.00512).
    "prediction_type": "v_prediction",
}
