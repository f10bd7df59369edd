"""How pictures are made: what is asked, and what it becomes once the model's defaults are filled in."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.conditions import MAX_SEED
from models.masks import SizePolicy
from models.model_card import ModelCard, Scheduler, check_size
from models.rfilter.rules import Policy, RuleName
from models.tiling import plan_canvas
from worker.mask_reading import json_text
from worker.plain_text import Text
from worker.webhook_specs import WebhookRequest


class FilterSpec(BaseModel):
    """How R-Filter judges. `thresholds`: by rule name, a number in place of the calibrated one, null: rule off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    policy: Policy = Policy.BALANCED
    max_tries: int = Field(4, ge=1, le=16, description="pictures made for one sample before it is exhausted")
    keep_rejected: bool = Field(False, description="also store the pictures of rejected tries")
    thresholds: dict[RuleName, float | None] = Field(default_factory=dict)

    @property
    def limits(self) -> dict[str, float | None]:
        """The thresholds by the rules' plain names."""
        return {name.value: limit for name, limit in self.thresholds.items()}


class Rendering(BaseModel):
    """How pictures are made, every default filled in. Sizes in pixels; names are those of diffusers.

    `width` and `height` are null in a data set of tiled pictures: each has its mask's size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    seed: int = Field(ge=0, le=MAX_SEED)
    num_inference_steps: int = Field(ge=1, le=100)
    guidance_scale: float = Field(ge=1, le=20)
    controlnet_conditioning_scale: float = Field(ge=0, le=2)
    scheduler: Scheduler
    negative_prompt: str = Field("", max_length=500)
    width: int | None
    height: int | None
    size_policy: SizePolicy = SizePolicy.RESIZE
    filter: FilterSpec = FilterSpec()
    first_try: int = Field(
        0, ge=0, description="of every sample; a retried job goes on after the tries before it"
    )

    webhook: WebhookRequest | None = None

    @property
    def tiled(self) -> bool:
        """Whether pictures may be larger than the model makes at once."""
        return self.size_policy is SizePolicy.TILE

    @property
    def steps_made(self) -> int:
        """Denoising steps of one picture."""
        return self.num_inference_steps

    def work_of(self, card: ModelCard, width: int, height: int) -> int:
        """Of one picture of that size: pixels x denoising steps, by which pictures of one model take their time."""
        return plan_canvas(card, width, height, tiled=self.tiled).pixels_seen * self.steps_made


class RenderingRequest(BaseModel):
    """How pictures are to be made; what is not said is the model's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str | None = Field(
        None, max_length=100, description="name or name@version; default: see /v1/models"
    )
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="default: chosen, and reported in the job")
    num_inference_steps: int | None = Field(None, ge=1, le=100)
    guidance_scale: float | None = Field(None, ge=1, le=20)
    controlnet_conditioning_scale: float | None = Field(None, ge=0, le=2)
    scheduler: Scheduler | None = None
    negative_prompt: Text | None = Field(None, max_length=500)
    width: int | None = Field(
        None,
        ge=8,
        description="pixels, a multiple of 8; default: the model's native size, or with size_policy=tile the mask's",
    )
    height: int | None = Field(None, ge=8, description="pixels, a multiple of 8")
    size_policy: SizePolicy = SizePolicy.RESIZE
    filter: Annotated[FilterSpec, BeforeValidator(json_text)] = FilterSpec()

    def rendering(self, card: ModelCard, size: tuple[int | None, int | None] | None = None) -> dict[str, Any]:
        """The fields of Rendering, with the model's own where the request says nothing.

        `size`: (width, height) of the pictures where they follow from their masks, and not from the request.
        Raises InvalidInput for a size that the model cannot make.
        """
        if size is None:
            width, height = self.width or card.native_width, self.height or card.native_height
            check_size(card, width, height)
            size = width, height
        own = {
            name: getattr(card.defaults, name) if getattr(self, name) is None else getattr(self, name)
            for name in (
                "num_inference_steps",
                "guidance_scale",
                "controlnet_conditioning_scale",
                "scheduler",
                "negative_prompt",
            )
        }
        return own | {
            "model": f"{card.name}@{card.version}",
            "seed": secrets.randbelow(MAX_SEED + 1) if self.seed is None else self.seed,
            "width": size[0],
            "height": size[1],
            "size_policy": self.size_policy,
            "filter": self.filter,
        }
