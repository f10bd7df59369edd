"""A finished training as a folder that diffusers reads: the base with trained weights, and its card."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from models.card_file import CARD_FILE, card_facts
from models.cfcomp.recipe import Recipe, TrainedParts
from models.cfcomp.trainer import Trained
from models.model_card import ModelCard, model_digest
from models.synthesis.checkpoint import WEIGHTS, open_checkpoint

_HALF_PARTS = {TrainedParts.CONTROLNET: ("controlnet",)}


def write_model(trained: Trained, card: ModelCard, recipe: Recipe, folder: Path) -> ModelCard:
    """Write the model into a new folder and return its card, every file of it pinned.

    Trained parts are stored in float16, low-rank updates merged into the weights; the other parts are the base's own
    files, byte for byte. `card` is what the model is to be called and able to; see `card_of`.

    Raises:
        ModelUnavailable: the base's files are no longer there, or no longer the same.
    """
    pipe = trained.loaded.pipe
    checkpoint = open_checkpoint(trained.loaded.card)
    if recipe.trained is TrainedParts.LORA:
        _take_back(pipe.unet, checkpoint.base / "unet" / WEIGHTS["unet"])
        pipe.unet.fuse_lora()
        pipe.unet.unload_lora()
    parts = _HALF_PARTS.get(recipe.trained, ("controlnet", "unet"))
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for place in checkpoint.files:
        part, _, name = place.partition("/")
        if part in parts:
            continue
        source = checkpoint.controlnet / name if part == "controlnet" else checkpoint.base / place
        (fresh / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, fresh / place)
    for part in parts:
        half = copy.deepcopy(getattr(pipe, part)).to("cpu", torch.float16)
        half.save_pretrained(fresh / part, safe_serialization=True, max_shard_size="100GB")
        _forget_place(fresh / part / "config.json")
    files = {
        path.relative_to(fresh).as_posix(): _sha256(path)
        for path in sorted(fresh.rglob("*"))
        if path.is_file()
    }
    (fresh / CARD_FILE).write_text(
        json.dumps(card_facts(card) | {"files": files}, indent=2) + "\n", encoding="utf-8"
    )
    fresh.rename(folder)
    pinned = replace(card, base=str(folder), controlnet=str(folder), sha256=files, digest=model_digest(files))
    return replace(pinned, controlnet_subfolder="controlnet")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _forget_place(config: Path) -> None:
    """Leave out where the base lay on this machine, which diffusers writes down: equal models have equal files."""
    content = json.loads(config.read_bytes())
    content.pop("_name_or_path", None)
    config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@torch.no_grad()
def _take_back(unet: Any, file: Path) -> None:
    """Put the base's own weights under the low-rank updates, in float32: a training may keep them in bfloat16."""
    unet.float()
    stored = load_file(file)
    for name, value in unet.named_parameters():
        own = name.replace(".base_layer.", ".")
        if own in stored:
            value.copy_(stored[own])


def card_of(
    base: ModelCard, *, name: str, version: str, category_ids: Collection[int], counts: Mapping[int, int]
) -> ModelCard:
    """Return what a model is called and able to that was trained from `base`.

    It knows the base's categories and those of the training set; `counts` are the training set's pairs by category,
    taken for categories that the base did not know.
    """
    known = {**dict.fromkeys(base.category_ids), **dict.fromkeys(sorted(category_ids))}
    fresh = {number: count for number, count in counts.items() if number not in base.category_ids}
    return replace(
        base,
        name=name,
        version=version,
        title=f"{name}: {base.name}@{base.version} trained on with CF-Comp",
        category_ids=tuple(sorted(known)),
        training_counts={**base.training_counts, **fresh},
    )
