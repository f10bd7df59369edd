"""From mask crops to what the denoiser is told: control tensors and prompts, as EarthSynth encodes them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

from models.categories import caption
from models.nano.architecture import LATENT_FACTOR, TEXT_TOKENS

# Roads, trees and roofs are small and varied, sand and water large and smooth.
_CLASS_WEIGHT = np.ones(256, dtype=np.float32)
_CLASS_WEIGHT[[1, 6]] = 0.7
_CLASS_WEIGHT[[4, 5, 8]] = 1.4


def control_signal(masks: NDArray[np.uint8]) -> Tensor:
    """Return masks (B, H, W) of ids as the ControlNet's input: id / 255 on three channels.  # (B, 3, H, W)"""
    return torch.from_numpy(masks).float().div(255)[:, None].repeat(1, 3, 1, 1)


def augment_conditions(
    masks: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    single_category_probability: float = 0.15,
    no_prompt_probability: float = 0.15,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Return control masks and prompts for masks (B, H, W); the pictures stay as they are.

    EarthSynth's category augmentation: now and then one category is kept and the others become 0, in mask and
    text alike, which teaches that 0 means "anything". An empty prompt comes with the mask of another picture, so
    that the unguided branch learns to trust no mask: guidance, which the pipeline applies to the text alone, then
    strengthens the mask too. (With the right mask in both branches guidance did nothing but add contrast.)
    """
    controls, prompts = [], []
    for mask in masks:
        present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:255]) + 1
        control = mask
        if len(present) and rng.random() < single_category_probability:
            present = rng.choice(present, size=1)
            control = np.where(mask == present[0], mask, 0)
        controls.append(control)
        prompts.append(caption(int(c) for c in present))
    for index in np.flatnonzero(rng.random(len(masks)) < no_prompt_probability):
        prompts[index] = ""
        controls[index] = masks[(index + rng.integers(1, max(2, len(masks)))) % len(masks)]
    return np.stack(controls).astype(np.uint8), prompts


def tokenize(tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """Return token ids, padded with the end token as Stable Diffusion does.  # (B, 77) int64"""
    padded = tokenizer(
        prompts, padding="max_length", max_length=TEXT_TOKENS, truncation=True, return_tensors="pt"
    )
    ids: Tensor = padded.input_ids
    return ids


def loss_weights(masks: NDArray[np.uint8]) -> Tensor:
    """Return the weight of each latent cell from masks (B, H, W), mean 1 over the batch.  # (B, 1, h, w)"""
    weights = torch.from_numpy(_CLASS_WEIGHT[masks])[:, None]
    pooled = torch.nn.functional.avg_pool2d(weights, LATENT_FACTOR)
    return pooled / pooled.mean()
