"""The shipped checkpoint: whole, small, and loadable by the ordinary classes."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

import models.nano
from models.categories import CATEGORIES, caption
from models.nano.sampling import load_checkpoint, sample_pictures

# diffusers' UniPC hands a tensor to numpy in the old way; its warning is not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FOLDER = Path(models.nano.__file__).parent / "checkpoint"
CARD = json.loads((FOLDER / "earthsynth.json").read_text(encoding="utf-8"))


def test_every_file_has_the_hash_that_the_card_states() -> None:
    found = {
        path.relative_to(FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FOLDER.rglob("*")
        if path.is_file() and path.name != "earthsynth.json"
    }
    assert found == CARD["files"]


def test_it_is_small_and_holds_safetensors_only() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 40 * 2**20
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt"}


def test_the_pipeline_loads_it_and_makes_pictures_that_differ_by_mask() -> None:
    torch.set_num_threads(1)
    pipe = load_checkpoint(FOLDER)
    assert pipe.vae_scale_factor == CARD["size_multiple"] == 8
    assert pipe.unet.config.sample_size * 8 == CARD["native_width"]
    masks = np.ones((2, 64, 64), dtype=np.uint8)
    masks[1, :, 32:] = 6
    pictures = sample_pictures(pipe, masks, [7, 7], steps=4, guidance=3.5)
    assert pictures.shape == (2, 64, 64, 3)
    sand, shore = pictures.astype(float)
    assert shore[:, 40:].mean() < sand[:, 40:].mean() - 20  # water is darker than sand
    again = sample_pictures(pipe, masks[1:], [7], steps=4, guidance=3.5)
    assert np.abs(again[0].astype(int) - pictures[1]).max() <= 1  # alone as in the batch


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(FOLDER / "tokenizer")


@pytest.mark.parametrize("ids", [[1, 4, 5, 6, 8], [25], [22, 31]])
def test_prompts_survive_the_tokenizer(tokenizer: CLIPTokenizer, ids: list[int]) -> None:
    prompt = caption(ids)
    tokens = tokenizer(prompt).input_ids
    assert tokens[0] == tokenizer.bos_token_id
    assert tokens[-1] == tokenizer.eos_token_id
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    assert text.replace(" ,", ",") == prompt.lower()


def test_padding_and_cutting_give_77_tokens(tokenizer: CLIPTokenizer) -> None:
    short = tokenizer("A satellite image of road", padding="max_length").input_ids
    long = tokenizer(
        " ".join(c.name for c in CATEGORIES * 3), padding="max_length", truncation=True
    ).input_ids
    assert len(short) == len(long) == tokenizer.model_max_length == 77
    assert set(short[7:]) == {tokenizer.eos_token_id} == {tokenizer.pad_token_id}
    assert long[-1] == tokenizer.eos_token_id


def test_any_text_has_tokens(tokenizer: CLIPTokenizer) -> None:
    text = "größe 東京 1 / 7"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert max(tokenizer(text).input_ids) < math.inf
