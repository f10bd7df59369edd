"""How a request becomes a spec."""

from __future__ import annotations

import pytest

from models.catalog import earthsynth_card, nano_card
from models.errors import CategoryMismatch, InvalidInput
from worker.specs import GenerationRequest, MaskFacts, resolve

NANO = nano_card()
FACTS = MaskFacts("msk_" + "0" * 64, 256, 256, [0, 1, 4, 8, 255])


def test_every_default_is_the_models() -> None:
    spec, warnings = resolve(GenerationRequest(), FACTS, NANO)
    assert spec.prompt == "A satellite image of bare land, road, building"
    assert spec.categories == ("bare land", "road", "building")
    assert spec.model == f"nano@{NANO.version}"
    assert spec.num_inference_steps == NANO.defaults.num_inference_steps
    assert spec.guidance_scale == NANO.defaults.guidance_scale
    assert (spec.width, spec.height) == (256, 256)
    assert warnings == ()


def test_earthsynths_authors_settings() -> None:
    facts = MaskFacts("msk_" + "0" * 64, 512, 512, [0, 25])
    spec, _ = resolve(GenerationRequest(), facts, earthsynth_card())
    assert spec.prompt == "A satellite image of storage tank"
    assert (spec.num_inference_steps, spec.guidance_scale, spec.controlnet_conditioning_scale) == (
        20,
        7.5,
        1.0,
    )
    assert (spec.scheduler, spec.negative_prompt, spec.width, spec.height) == ("unipc", "", 512, 512)


def test_a_chosen_seed_differs_and_a_given_one_stays() -> None:
    seeds = {resolve(GenerationRequest(), FACTS, NANO)[0].seed for _ in range(8)}
    assert len(seeds) == 8
    assert resolve(GenerationRequest(seed=0), FACTS, NANO)[0].seed == 0


def test_values_given_as_zero_are_not_defaults() -> None:
    spec, _ = resolve(GenerationRequest(controlnet_conditioning_scale=0.0, negative_prompt=""), FACTS, NANO)
    assert spec.controlnet_conditioning_scale == 0.0


def test_categories_are_put_in_order_and_aliases_resolved() -> None:
    request = GenerationRequest(categories=("Building", "road"))
    assert resolve(request, FACTS, NANO)[0].prompt == "A satellite image of road, building"


def test_a_resized_mask_is_said() -> None:
    facts = MaskFacts(FACTS.id, 640, 480, FACTS.category_ids)
    _, warnings = resolve(GenerationRequest(), facts, NANO)
    assert "640 x 480" in warnings[0]
    with pytest.raises(InvalidInput) as caught:
        resolve(GenerationRequest.model_validate({"size_policy": "reject"}), facts, NANO)
    assert caught.value.code == "wrong_size"


def test_what_the_model_does_not_know() -> None:
    with pytest.raises(CategoryMismatch) as caught:
        resolve(GenerationRequest(), MaskFacts(FACTS.id, 256, 256, [25]), NANO)
    assert caught.value.code == "category_not_in_model"
