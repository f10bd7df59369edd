"""Pictures for masks from a checkpoint folder, for judging it; the service has its own way in models/synthesis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from numpy.typing import NDArray

from models.categories import caption
from models.nano.conditions import control_signal


def load_checkpoint(folder: Path) -> StableDiffusionControlNetPipeline:
    """Return the checkpoint's pipeline in fp32 on the CPU, without a progress bar."""
    controlnet = ControlNetModel.from_pretrained(folder, subfolder="controlnet", dtype=torch.float32)
    pipe = StableDiffusionControlNetPipeline.from_pretrained(
        folder,
        controlnet=controlnet,
        dtype=torch.float32,
        safety_checker=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sample_pictures(
    pipe: StableDiffusionControlNetPipeline,
    masks: NDArray[np.uint8],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    conditioning_scale: float = 1.0,
    batch_size: int = 4,
) -> NDArray[np.uint8]:
    """Return one picture (H, W, 3) uint8 for each mask (H, W) of ids; each has its own generator.

    Masks (N, H, W) to pictures (N, H, W, 3); the prompt names the ids present.
    """
    pictures = []
    for start in range(0, len(masks), batch_size):
        batch = masks[start : start + batch_size]
        made = pipe(
            prompt=[caption(int(i) for i in np.unique(mask)) for mask in batch],
            image=control_signal(batch),
            num_inference_steps=steps,
            guidance_scale=guidance,
            controlnet_conditioning_scale=conditioning_scale,
            generator=[torch.Generator().manual_seed(s) for s in seeds[start : start + batch_size]],
            output_type="np",
        ).images  # (B, H, W, 3) in [0, 1]
        pictures.append((made * 255).round().astype(np.uint8))
    return np.concatenate(pictures)
