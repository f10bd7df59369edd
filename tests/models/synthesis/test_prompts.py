"""Prompt embeddings and token counts, against the tokenizer and text encoder used by hand."""

from __future__ import annotations

import pytest
import torch

from models.categories import CATEGORIES, caption
from models.synthesis.pipeline import LoadedPipeline
from models.synthesis.prompts import PromptCache, prompt_warnings, token_count, token_limit


def test_an_embedding_is_the_text_encoders_hidden_states(nano: LoadedPipeline) -> None:
    text = "A satellite image of road, tree"
    tokens = nano.pipe.tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = nano.pipe.text_encoder(tokens)[0]
    torch.testing.assert_close(PromptCache().embed(nano.pipe, text), expected)


def test_the_least_recently_used_prompt_is_forgotten(nano: LoadedPipeline) -> None:
    cache = PromptCache(capacity=2)
    for text in ("a", "b", "a", "c"):
        cache.embed(nano.pipe, text)
    assert len(cache) == 2
    assert ("a" in cache, "b" in cache, "c" in cache) == (True, False, True)


@pytest.mark.parametrize("text", ["", "road", "A satellite image of road, tree", "x " * 200])
def test_token_count_is_the_words_pieces_and_two_markers(nano: LoadedPipeline, text: str) -> None:
    assert token_count(nano.pipe, text) == len(nano.pipe.tokenizer.tokenize(text)) + 2


def test_a_prompt_that_is_too_long_is_cut_and_said_so(
    nano: LoadedPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    assert token_limit(nano.pipe) == 77
    everything = caption(category.id for category in CATEGORIES)
    pieces = len(nano.pipe.tokenizer.tokenize(everything))
    assert pieces > 75
    (warning,) = prompt_warnings(nano.pipe, everything)
    assert f"{pieces} tokens" in warning
    assert "75" in warning
    cache = PromptCache()
    cache.embed(nano.pipe, "A satellite image of road")
    assert caplog.messages == []
    cache.embed(nano.pipe, everything)
    assert caplog.messages == [warning]
    torch.testing.assert_close(
        cache.embed(nano.pipe, everything), cache.embed(nano.pipe, everything + ", and more"), rtol=0, atol=0
    )


def test_a_caption_of_what_nano_knows_fits(nano: LoadedPipeline) -> None:
    assert prompt_warnings(nano.pipe, caption(nano.card.category_ids)) == ()
