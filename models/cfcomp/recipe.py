"""What may be asked of a training, every default filled in."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.cfcomp.dataset import CropOptions
from models.cfcomp.options import CfCompOptions

MATCH_WITHIN = 16  # samples among which partners are found: more would cost a batch's time in matching


class TrainedParts(StrEnum):
    CONTROLNET = "controlnet"  # the ControlNet alone; base and text encoder stay as they are
    UNET = "unet"  # the ControlNet and the whole UNet
    LORA = "lora"  # the ControlNet and low-rank updates of the UNet's attention, merged in the finished model


class Precision(StrEnum):
    AUTO = "auto"  # bf16 on a GPU that has it, else fp16; no on a CPU
    NO = "no"  # float32 throughout
    FP16 = "fp16"  # float16 with loss scaling; GPUs only
    BF16 = "bf16"  # bfloat16, with float32's range


class Schedule(StrEnum):
    CONSTANT = "constant_with_warmup"  # after the warm-up the learning rate stays
    COSINE = "cosine"  # after the warm-up it falls to 0 along half a cosine


class Optimizer(StrEnum):
    ADAMW = "adamw"  # torch.optim.AdamW
    ADAMW_8BIT = "adamw_8bit"  # bitsandbytes' AdamW8bit, where that package is installed


class DroppedMask(StrEnum):
    """What the ControlNet sees where the prompt was dropped: guidance compares with this."""

    OWN = "own"  # the picture's own mask: guidance strengthens the text alone, as in EarthSynth
    OTHER = (
        "other"  # another picture's: the unguided branch learns to trust no mask, so guidance strengthens it
    )


class ValidationPlan(BaseModel):
    """Pictures made now and then of the same masks and seeds, so that people see how the training goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: int = Field(0, ge=0, le=1_000_000, description="steps between them; 0: at the end only")
    pictures: int = Field(4, ge=1, le=16, description="first masks of the training set to make pictures of")
    mask_ids: tuple[str, ...] = Field(
        (),
        max_length=16,
        description="stored masks to make pictures of instead, cut to the base's native size",
    )
    prompts: tuple[Annotated[str, Field(max_length=500)], ...] = Field(
        (), max_length=16, description="texts in place of the masks' captions, in the same order"
    )
    seed: int = Field(0, ge=0, le=2**32 - 1)


class Recipe(BaseModel):
    """How a model is trained. Sizes in pixels; `batch_size` counts samples of one step over all processes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    resolution: int = Field(512, ge=64, le=1024, multiple_of=8, description="side of the samples, pixels")
    steps: int = Field(10_000, ge=1, le=1_000_000, description="optimiser steps")
    batch_size: int = Field(16, ge=1, le=4096, description="samples of a step, over all processes")
    gradient_accumulation_steps: int = Field(
        1, ge=1, le=256, description="parts into which each process cuts its share of a batch, to save memory"
    )
    learning_rate: float = Field(1e-5, gt=0, le=1)
    lr_schedule: Schedule = Schedule.CONSTANT
    warmup_steps: int = Field(0, ge=0, le=100_000)
    optimizer: Optimizer = Optimizer.ADAMW
    weight_decay: float = Field(1e-2, ge=0, le=1)
    max_grad_norm: float = Field(1.0, gt=0, le=1000)
    trained: TrainedParts = TrainedParts.CONTROLNET
    lora_rank: int = Field(16, ge=1, le=256, description="of trained = lora")
    mixed_precision: Precision = Precision.AUTO
    gradient_checkpointing: bool = Field(False, description="compute activations twice, to save memory")
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="largest decay of the weights' running average; null: no average"
    )
    min_snr_gamma: float | None = Field(
        None, gt=0, le=100, description="min-SNR weighting of time steps; null: all count alike"
    )
    prompt_dropout: float = Field(0.1, ge=0, le=1, description="share of samples whose prompt is dropped")
    dropped_mask: DroppedMask = DroppedMask.OWN
    max_zoom_out: float = Field(
        1, ge=1, le=4, description="a crop shows up to so many times more ground a side"
    )
    orientations: bool = Field(True, description="quarter turns and mirror images of the pairs")
    single_category: float = Field(
        0.15, ge=0, le=1, description="probability that a sample keeps one category, the others becoming 0"
    )
    cf_comp: CfCompOptions = CfCompOptions()
    local_loss_weight: float = Field(1, ge=0, le=100, description="lambda in L = L_global + lambda L_local")
    checkpoint_every: int = Field(500, ge=1, le=100_000, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, le=100, description="whole checkpoints that are kept")
    validation: ValidationPlan = ValidationPlan()
    seed: int = Field(0, ge=0, le=2**32 - 1)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError("batch_size must be a multiple of gradient_accumulation_steps")
        return self

    @property
    def crops(self) -> CropOptions:
        """How samples are cut out of pairs."""
        return CropOptions(
            size=self.resolution,
            max_zoom_out=self.max_zoom_out,
            orientations=self.orientations,
            single_category=self.single_category,
        )

    @property
    def digest(self) -> str:
        """One hash for all that decides the weights of every step; a checkpoint belongs to one such recipe.

        How many steps there are counts too where the learning rate depends on it.
        """
        aside = {"checkpoint_every", "keep_checkpoints", "validation"}
        if self.lr_schedule is Schedule.CONSTANT:
            aside.add("steps")
        return hashlib.sha256(self.model_dump_json(exclude=aside).encode()).hexdigest()


# What suits a family of models better than the defaults above, which are for EarthSynth at 512 px on a GPU.
FAMILY_DEFAULTS: dict[str, dict[str, object]] = {
    "nano": {
        "resolution": 128,
        "steps": 500,
        "learning_rate": 2e-4,
        "warmup_steps": 20,
        "trained": TrainedParts.UNET,
        "ema_decay": 0.995,
        "prompt_dropout": 0.15,
        "dropped_mask": DroppedMask.OTHER,
        "max_zoom_out": 1.6,
        "checkpoint_every": 100,
    },
}


def recipe_for(family: str, asked: dict[str, object]) -> Recipe:
    """Return the recipe: what is asked, else what suits the family of models ("nano", "earthsynth").

    Raises:
        pydantic.ValidationError: a value outside its range, or an unknown one.
    """
    return Recipe.model_validate(FAMILY_DEFAULTS.get(family, {}) | asked)
