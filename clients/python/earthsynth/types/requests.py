"""What may be said when a job is asked for; whatever is left out is the model's own. Names are those of diffusers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

Scheduler = Literal["unipc", "ddim", "dpmpp", "euler", "pndm"]
SizePolicy = Literal["resize", "pad", "tile", "reject"]
Policy = Literal["off", "balanced", "strict"]


class Filter(TypedDict, total=False):
    """How R-Filter judges. `thresholds` by rule; None switches the rule off."""

    policy: Policy
    max_tries: int
    keep_rejected: bool
    thresholds: Mapping[str, float | None]


class WebhookTarget(TypedDict, total=False):
    """Where events of this job go; https, a public address."""

    url: str
    events: Sequence[str]


class Tags(TypedDict, total=False):
    """What every create takes.

    `custom_id` and `metadata` (at most 16 texts) come back in the job, its manifest and webhooks. `idempotency_key`:
    chosen by itself for every call; give your own to repeat a call after your process has died. `extra_body`: fields
    that this version of the client does not know.
    """

    custom_id: str
    metadata: Mapping[str, str]
    webhook: WebhookTarget
    idempotency_key: str
    extra_body: Mapping[str, Any]


class Rendering(Tags, total=False):
    """How pictures are made. Sizes in pixels, multiples of 8; `filter` may be a policy's name alone."""

    model: str
    seed: int
    num_inference_steps: int
    guidance_scale: float
    controlnet_conditioning_scale: float
    scheduler: Scheduler
    negative_prompt: str
    width: int
    height: int
    size_policy: SizePolicy
    filter: Filter | Policy


class Goal(TypedDict, total=False):
    """So many accepted samples of each category, by name."""

    accepted_per_category: Mapping[str, int]
    max_tries: int
    max_seconds: float


class Conditions(TypedDict, total=False):
    """What may happen to a mask before it conditions a picture; all off by default."""

    flip: bool
    rotate90: bool
    translate: float
    scale: tuple[float, float]
    single_category: float | bool
    extra_category_probability: float


class ExportOptions(TypedDict, total=False):
    """How a data set is written. `include_stuff`: annotate land cover and buildings too."""

    min_area: int
    include_stuff: bool
    all_classes: bool
    shard_samples: int
    splits: Mapping[str, float]
    idempotency_key: str
    extra_body: Mapping[str, Any]


class Reading(TypedDict, total=False):
    """How mask files are to be read. `category`: what the non-zero value of a binary mask is."""

    encoding: Literal["auto", "class_id", "palette", "color", "binary", "instance"]
    ontology: str
    category: str
    label_map: Mapping[str, int | str]
    ignore: bool


class Recipe(TypedDict, total=False):
    """How a model is trained; see POST /v1/trainings of the service for every field and its default."""

    resolution: int
    steps: int
    batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    lr_schedule: Literal["constant_with_warmup", "cosine"]
    warmup_steps: int
    optimizer: Literal["adamw", "adamw_8bit"]
    weight_decay: float
    max_grad_norm: float
    trained: Literal["controlnet", "unet", "lora"]
    lora_rank: int
    mixed_precision: Literal["auto", "no", "fp16", "bf16"]
    gradient_checkpointing: bool
    ema_decay: float
    min_snr_gamma: float
    prompt_dropout: float
    dropped_mask: Literal["own", "other"]
    max_zoom_out: float
    orientations: bool
    single_category: float
    cf_comp: Mapping[str, Any]
    local_loss_weight: float
    checkpoint_every: int
    keep_checkpoints: int
    validation: Mapping[str, Any]
    seed: int
    new_version: bool
    resume_from: str
    custom_id: str
    metadata: Mapping[str, str]
    webhook: WebhookTarget
    idempotency_key: str
    extra_body: Mapping[str, Any]


class PreviewOptions(TypedDict, total=False):
    """Which training to see the first steps of; `count` composed pairs."""

    base_model: str
    resolution: int
    seed: int
    batch_size: int
    max_zoom_out: float
    orientations: bool
    single_category: float
    cf_comp: Mapping[str, Any]
    count: int
    extra_body: Mapping[str, Any]
