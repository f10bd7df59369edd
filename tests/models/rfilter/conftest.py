"""Untrained CLIP and SegFormer classes at toy size, saved by transformers themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from models.nano.filter import nano_filter

LABELS = {
    0: "wall",
    1: "Building",
    2: "water body",
    3: "river",
    4: "sky",
}  # three are ours, two of them water


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    shutil.copytree(nano_filter()[0].parent / "checkpoint" / "tokenizer", folder, dirs_exist_ok=True)
    words = len(CLIPTokenizer.from_pretrained(folder))
    torch.manual_seed(0)
    text = {"vocab_size": words, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    text |= {
        "num_attention_heads": 2,
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": 0,
    }
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture(scope="session")
def segformer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    folder = tmp_path_factory.mktemp("segformer")
    torch.manual_seed(0)
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
    )
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    return folder
