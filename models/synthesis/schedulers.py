"""The five samplers, each made fresh from the model's own noise schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from models.model_card import Scheduler


def make_scheduler(name: Scheduler, config: Mapping[str, Any]) -> Any:
    """A new diffusers scheduler on the noise schedule `config` (a scheduler_config.json).

    New for every batch: a scheduler keeps the steps it has seen, and a canceled run must leave none behind.
    What the config leaves open takes Stable Diffusion's values instead of the class's own, which fit pixel
    models (DDIM would clip latents to ±1, PNDM would start with Runge-Kutta steps).
    """
    config = dict(config)
    match name:
        case Scheduler.UNIPC:
            return UniPCMultistepScheduler.from_config(config)
        case Scheduler.DDIM:
            return DDIMScheduler.from_config(config, clip_sample=False, set_alpha_to_one=False)
        case Scheduler.DPMPP:
            return DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver++")
        case Scheduler.EULER:
            return EulerDiscreteScheduler.from_config(config)
        case Scheduler.PNDM:
            return PNDMScheduler.from_config(config, skip_prk_steps=True, set_alpha_to_one=False)
