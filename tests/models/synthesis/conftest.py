"""Real pipelines at toy size: the shipped nano checkpoint, and a checkpoint of Stable Diffusion 1.5's shape."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import models.synthesis  # noqa: F401  (before diffusers: it switches remote code off)
from models.catalog import NANO_CHECKPOINT, earthsynth_card, nano_card
from models.model_card import ModelCard


@dataclass(frozen=True)
class StableDiffusionFolders:
    """`base` as stable-diffusion-v1-5 lies on the hub; the ControlNet in EarthSynth's layout and flat."""

    base: Path
    controlnet: Path
    flat_controlnet: Path

    def card(self, *, flat: bool = False) -> ModelCard:
        from dataclasses import replace

        controlnet = self.flat_controlnet if flat else self.controlnet
        return replace(earthsynth_card(str(self.base), str(controlnet)), sha256={})


@pytest.fixture(scope="session")
def nano() -> Any:
    from models.synthesis.pipeline import load_pipeline

    return load_pipeline(nano_card(), device="cpu")


@pytest.fixture
def nano_folder(tmp_path: Path) -> Path:
    """A copy of the shipped checkpoint, to be damaged."""
    return Path(shutil.copytree(NANO_CHECKPOINT, tmp_path / "nano"))


@pytest.fixture(scope="session")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionFolders:
    """Untrained Stable Diffusion 1.5 classes at toy size, saved by diffusers and transformers themselves."""
    import torch
    from diffusers import AutoencoderKL, ControlNetModel, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("stable-diffusion")
    base = root / "base"
    shutil.copytree(NANO_CHECKPOINT / "tokenizer", base / "tokenizer")
    words = len(CLIPTokenizer.from_pretrained(base / "tokenizer"))
    shape: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "cross_attention_dim": 16,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    }
    unet = UNet2DConditionModel(sample_size=8, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **shape)
    unet.save_pretrained(base / "unet")
    AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    ).save_pretrained(base / "vae")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=words - 2,
            eos_token_id=words - 1,
            pad_token_id=words - 1,
        )
    ).save_pretrained(base / "text_encoder")
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
    ).save_pretrained(base / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.6.0",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (base / "model_index.json").write_text(json.dumps(index))

    controlnet = ControlNetModel.from_unet(unet, conditioning_channels=3)
    controlnet.save_pretrained(root / "earthsynth" / "controlnet")
    controlnet.save_pretrained(root / "flat")
    return StableDiffusionFolders(base, root / "earthsynth", root / "flat")
