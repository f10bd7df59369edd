"""Prompts as the text encoder sees them: their embeddings, kept, and their length in tokens."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

import torch

logger = logging.getLogger(__name__)


class PromptCache:
    """Embeddings of the last prompts used, positive and negative alike, on the pipeline's device.

    A data set repeats a few hundred captions and one negative prompt; encoding each once saves the text
    encoder's share of every batch. 256 entries of Stable Diffusion 1.5 take 30 MB in fp16.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._embeddings: OrderedDict[str, torch.Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._embeddings)

    def __contains__(self, text: str) -> bool:
        return text in self._embeddings

    def embed(self, pipe: Any, text: str) -> torch.Tensor:
        """(1, 77, D) hidden states of `text`, in the text encoder's dtype.

        Encoded alone, never in a batch, so that a picture does not depend on its neighbours' prompts.
        """
        if text in self._embeddings:
            self._embeddings.move_to_end(text)
            return self._embeddings[text]
        for warning in _cut_off(pipe.tokenizer, text):
            logger.warning(warning)
        with torch.no_grad():
            embedding, _ = pipe.encode_prompt(
                text, pipe.device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )
        self._embeddings[text] = embedding
        if len(self._embeddings) > self._capacity:
            self._embeddings.popitem(last=False)
        return self._embeddings[text]


def token_count(pipe: Any, text: str) -> int:
    """Tokens of `text`, the start and end markers counted; the model reads `token_limit` of them."""
    return _count(pipe.tokenizer, text)


def token_limit(pipe: Any) -> int:
    """The longest prompt the text encoder reads, in tokens, markers counted: 77."""
    return int(pipe.tokenizer.model_max_length)


def prompt_warnings(pipe: Any, text: str) -> tuple[str, ...]:
    """One sentence if the end of `text` is cut off because it is longer than the model reads, else none."""
    return _cut_off(pipe.tokenizer, text)


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, truncation=False).input_ids)


def _cut_off(tokenizer: Any, text: str) -> tuple[str, ...]:
    count, limit = _count(tokenizer, text), tokenizer.model_max_length
    if count <= limit:
        return ()
    return (
        f"The prompt has {count - 2} tokens and the model reads {limit - 2}: its end is cut off. "
        "Name fewer categories or use shorter words.",
    )
