"""Writes a checkpoint folder: fp16 safetensors, the pipeline's index, and `earthsynth.json` with every hash."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from models.nano.architecture import (
    LATENT_FACTOR,
    NATIVE_SIZE,
    UNET_CHANNELS,
    build_autoencoder,
    build_controlnet,
    build_text_encoder,
    build_unet,
    sampling_scheduler,
)
from models.nano.words import write_tokenizer

CARD_FILE = "earthsynth.json"
CATEGORY_IDS = (1, 4, 5, 6, 8)  # bare land, road, tree, water, building
# Chosen by judge and eye; guidance below 2 does not hold the mask (see conditions.py).
DEFAULTS = {
    "num_inference_steps": 10,
    "guidance_scale": 3.0,
    "controlnet_conditioning_scale": 1.0,
    "scheduler": "unipc",
    "negative_prompt": "",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything nano learns, on one device, and the tokenizer folder's object."""

    vae: AutoencoderTiny
    unet: UNet2DConditionModel
    controlnet: ControlNetModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer

    def trained_jointly(self) -> dict[str, torch.nn.Module]:
        """Return the parts that the diffusion loss trains, by folder name."""
        return {"unet": self.unet, "controlnet": self.controlnet, "text_encoder": self.text_encoder}

    def with_autoencoder(self, vae: AutoencoderTiny) -> Parts:
        """Return the same parts around another autoencoder."""
        return replace(self, vae=vae)


def build_parts(work: Path, channels: tuple[int, ...] = UNET_CHANNELS) -> Parts:
    """Return untrained parts; the tokenizer's files are written under `work/tokenizer`."""
    write_tokenizer(work / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    return Parts(
        vae=build_autoencoder(),
        unet=build_unet(channels),
        controlnet=build_controlnet(channels),
        text_encoder=build_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id),
        tokenizer=tokenizer,
    )


def load_parts(folder: Path) -> Parts:
    """Return the parts of a checkpoint folder in fp32, ready to sample or to train on."""
    return Parts(
        vae=AutoencoderTiny.from_pretrained(folder / "vae", dtype=torch.float32),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32),
        controlnet=ControlNetModel.from_pretrained(folder / "controlnet", dtype=torch.float32),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
    )


def export(parts: Parts, folder: Path, *, version: str, defaults: dict[str, object] | None = None) -> None:
    """Write `parts` as a checkpoint to `folder`, replacing what is there in one rename.

    Readers see either the old folder or the new one; the weights are stored in fp16.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in ("vae", "unet", "controlnet", "text_encoder"):
        half = copy.deepcopy(getattr(parts, name)).to("cpu", torch.float16)
        half.save_pretrained(fresh / name, safe_serialization=True)
    write_tokenizer(fresh / "tokenizer")
    sampling_scheduler().save_pretrained(fresh / "scheduler")
    _write_index(fresh)
    write_card(fresh, version=version, defaults=defaults or DEFAULTS)

    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_index(folder: Path) -> None:
    index = {
        "_class_name": "StableDiffusionControlNetPipeline",
        "_diffusers_version": diffusers.__version__,
        "controlnet": ["diffusers", "ControlNetModel"],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def write_card(folder: Path, *, version: str, defaults: dict[str, object]) -> None:
    """Write `earthsynth.json`: what the service must know, and the sha256 of every other file."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CARD_FILE
    }
    card = {
        "name": "nano",
        "version": version,
        "title": "Nano: EarthSynth's method at toy size, for trying the service on a CPU",
        "licence": "Apache-2.0",
        "category_ids": list(CATEGORY_IDS),
        "native_width": NATIVE_SIZE,
        "native_height": NATIVE_SIZE,
        "max_side": 512,
        "size_multiple": LATENT_FACTOR,
        "defaults": defaults,
        "batch_size_cpu": 4,
        "batch_size_cuda": 16,
        "files": files,
    }
    (folder / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
