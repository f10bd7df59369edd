"""What a training changes: a ControlNet, and if asked the UNet that it steers, as one network with one answer."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from models.cfcomp.loss import Prediction
from models.cfcomp.recipe import Optimizer, Recipe, TrainedParts
from models.errors import TrainingFailed
from models.synthesis.pipeline import LoadedPipeline

# The UNet's attention, as diffusers names its projections.
_LORA_TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]


class Denoiser(nn.Module):
    """ControlNet and UNet together; only what is trained requires a gradient."""

    def __init__(self, controlnet: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.controlnet = controlnet
        self.unet = unet

    def forward(self, noisy: Tensor, times: Tensor, text: Tensor, control: Tensor) -> Tensor:
        """Return what the network predicts for `noisy` (B, C, h, w): noise or velocity.  # (B, C, h, w)

        `times` (B,) int64, `text` (B, 77, D), `control` (B, 3, H, W) in [0, 1].
        """
        down, middle = self.controlnet(noisy, times, text, control, return_dict=False)
        predicted: Tensor = self.unet(
            noisy,
            times,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return predicted

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are trained, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}


def make_denoiser(loaded: LoadedPipeline, recipe: Recipe, *, half: torch.dtype | None) -> Denoiser:
    """Return the denoiser over the pipeline's own networks, all frozen but what the recipe trains.

    Trained weights are float32. With `half` the frozen UNet is kept in that type.
    """
    pipe = loaded.pipe
    for part in (pipe.vae, pipe.text_encoder, pipe.unet):
        part.requires_grad_(False)
    pipe.controlnet.requires_grad_(True)
    if recipe.trained is TrainedParts.UNET:
        pipe.unet.requires_grad_(True)
    elif half is not None:
        pipe.unet.to(half)
    if recipe.trained is TrainedParts.LORA:
        _add_lora(pipe.unet, recipe)
    if recipe.gradient_checkpointing:
        pipe.controlnet.enable_gradient_checkpointing()
        pipe.unet.enable_gradient_checkpointing()
    # In training mode for what gradient checkpointing asks of it; Stable Diffusion's networks drop nothing out.
    return Denoiser(pipe.controlnet, pipe.unet).train()


def _add_lora(unet: Any, recipe: Recipe) -> None:
    from peft import LoraConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)  # for a run that begins again, and for every process
        unet.add_adapter(
            LoraConfig(
                r=recipe.lora_rank,
                lora_alpha=recipe.lora_rank,
                init_lora_weights="gaussian",
                target_modules=_LORA_TARGETS,
            )
        )
    for value in unet.parameters():
        if value.requires_grad:
            value.data = value.data.float()


def make_optimizer(denoiser: Denoiser, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over what is trained.

    Raises:
        TrainingFailed: code "optimizer_unavailable": bitsandbytes is not installed.
    """
    kind: Any = torch.optim.AdamW
    if recipe.optimizer is Optimizer.ADAMW_8BIT:
        try:
            kind = importlib.import_module("bitsandbytes.optim").AdamW8bit
        except ImportError as error:
            raise TrainingFailed(
                "8-bit Adam needs the package bitsandbytes on the training worker; install it, or ask for adamw.",
                code="optimizer_unavailable",
            ) from error
    found: torch.optim.Optimizer = kind(
        list(denoiser.trained().values()),
        lr=recipe.learning_rate,
        betas=(0.9, 0.99) if recipe.trained is TrainedParts.UNET else (0.9, 0.999),
        weight_decay=recipe.weight_decay,
    )
    return found


def prediction_of(loaded: LoadedPipeline) -> Prediction:
    """Return what the model predicts.

    Raises:
        TrainingFailed: code "unsupported_prediction": neither noise nor velocity.
    """
    kind = str(loaded.scheduler_config.get("prediction_type", Prediction.EPSILON.value))
    try:
        return Prediction(kind)
    except ValueError as error:
        raise TrainingFailed(
            f"The base predicts {kind[:40]!r}; a training needs one that predicts epsilon or v_prediction.",
            code="unsupported_prediction",
        ) from error
