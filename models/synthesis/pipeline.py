"""One pipeline in memory: Stable Diffusion with a ControlNet, from the hub, from folders or as shipped."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from models.errors import ModelUnavailable
from models.model_card import ModelCard, Scheduler
from models.synthesis.checkpoint import Checkpoint, open_checkpoint
from models.synthesis.prompts import PromptCache
from models.synthesis.schedulers import make_scheduler

logger = logging.getLogger(__name__)

_VAE_CLASSES = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}


@dataclass(slots=True)
class LoadedPipeline:
    """A StableDiffusionControlNetPipeline on its device, and what it has learned there. Used by one thread.

    `files`: place → hex SHA-256 of every file read; `digest`: one hash over them, the model's identity.
    `batch_limits`: the largest batch that fitted, by (height, width), once memory ran out. `painter`: the
    inpainting pipeline of the same networks, once a picture was given to be painted in.
    """

    pipe: Any
    card: ModelCard
    device: torch.device
    dtype: torch.dtype
    files: Mapping[str, str]
    digest: str
    scheduler_config: Mapping[str, Any]
    fixed_batch_shape: bool  # the last batch is padded; so on CUDA
    prompts: PromptCache = field(default_factory=PromptCache)
    batch_limits: dict[tuple[int, int], int] = field(default_factory=dict)
    painter: Any = None
    oom_halvings: int = 0  # batches halved because memory ran out
    vae_retries: int = 0  # pictures decoded again in fp32 because fp16 overflowed


def load_pipeline(
    card: ModelCard, *, device: str = "auto", threads: int = 0, dtype: torch.dtype | None = None
) -> LoadedPipeline:
    """The pipeline of `card`, checked, in memory and ready.

    `device`: "auto" (CUDA if there is one), "cuda", "cuda:N" or "cpu". `dtype`: by default fp16 on CUDA, fp32
    on CPU; weights are channels-last on both. `threads`: CPU threads of the whole process; 0 leaves torch's
    own choice. Reads the network only if the card names a hub id. No safety checker: it blackens pictures.

    Raises ModelUnavailable: see `open_checkpoint`; also no such device, or files that do not fit together.
    """
    target = _device(device)
    precision = dtype or (torch.float16 if target.type == "cuda" else torch.float32)
    if threads > 0:
        torch.set_num_threads(threads)
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()

    checkpoint = open_checkpoint(card)
    try:
        pipe = _assemble(checkpoint, precision)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelUnavailable(
            f"Model {card.name}: its files do not load ({type(error).__name__}); they may be damaged or of "
            "another architecture."
        ) from error
    pipe.set_progress_bar_config(disable=True)
    pipe.to(target)
    for part in (pipe.unet, pipe.controlnet, pipe.vae):
        part.to(memory_format=torch.channels_last)  # faster on CUDA, and on CPUs too: see docs/benchmarks.md
    return LoadedPipeline(
        pipe=pipe,
        card=card,
        device=target,
        dtype=precision,
        files=checkpoint.files,
        digest=checkpoint.digest,
        scheduler_config=_scheduler_config(checkpoint),
        fixed_batch_shape=target.type == "cuda",
    )


def describe(loaded: LoadedPipeline) -> dict[str, str]:
    """What is resident: name, version, sha256 (the digest), device ("cpu", "cuda:0"), dtype ("float16")."""
    return {
        "name": loaded.card.name,
        "version": loaded.card.version,
        "sha256": loaded.digest,
        "device": str(loaded.device),
        "dtype": str(loaded.dtype).removeprefix("torch."),
    }


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelUnavailable(
            "No CUDA device is visible to this process: check the driver, or set EARTHSYNTH_DEVICE=cpu.",
            code="device_unavailable",
        )
    return device


def _assemble(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """The pipeline from its parts, each loaded by a class named here and not by the checkpoint."""
    base = checkpoint.base
    vae = _VAE_CLASSES[checkpoint.vae_class]
    return StableDiffusionControlNetPipeline(
        vae=_load(vae, base / "vae", dtype),
        text_encoder=_load(CLIPTextModel, base / "text_encoder", dtype),
        tokenizer=CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True),
        unet=_load(UNet2DConditionModel, base / "unet", dtype),
        controlnet=_load(ControlNetModel, checkpoint.controlnet, dtype),
        scheduler=make_scheduler(Scheduler.UNIPC, _scheduler_config(checkpoint)),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _scheduler_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The base's noise schedule as its file has it, without any class's own defaults."""
    content: dict[str, Any] = json.loads(
        (checkpoint.base / "scheduler" / "scheduler_config.json").read_bytes()
    )
    return content


def _load(model_class: Any, folder: Path, dtype: torch.dtype) -> Any:
    """One network in eval mode. Raises ValueError if its file lacks a tensor, which would else be random."""
    model, report = model_class.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    if report["missing_keys"] or report["mismatched_keys"]:
        raise ValueError(f"{folder.name} lacks {sorted(report['missing_keys'])[:3]}")
    return model.eval()
