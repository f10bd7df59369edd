"""A CLIP tokenizer made offline from the category prompts: byte-level BPE, `vocab.json` + `merges.txt`."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from models.categories import CATEGORIES, caption
from models.nano.architecture import TEXT_TOKENS

START, END = "<|startoftext|>", "<|endoftext|>"
# CLIP's own split, so that transformers' CLIPTokenizer cuts text at the same places.
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def write_tokenizer(folder: Path, vocabulary_size: int = 1000) -> None:
    """Train on every category's name and aliases and write a tokenizer folder.

    The two special tokens come last and padding is the end token. Written as vocabulary and merges because a
    folder with only `tokenizer.json` of transformers 5 does not load in 4.
    """
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    texts = [caption([c.id]) for c in CATEGORIES] + [a for c in CATEGORIES for a in (c.name, *c.aliases)]
    # The trainer needs the bytes alone and with the end-of-word mark, so that any text at all has tokens.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary_size - len(alphabet) - 2,
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    learned = json.loads(tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in learned["merges"]]
    tokens = list(dict.fromkeys([*learned["vocab"], *(letter + "</w>" for letter in alphabet), START, END]))
    vocabulary = {token: index for index, token in enumerate(tokens)}

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": TEXT_TOKENS,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
