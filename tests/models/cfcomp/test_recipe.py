from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.cfcomp.recipe import (
    FAMILY_DEFAULTS,
    DroppedMask,
    Precision,
    Recipe,
    Schedule,
    TrainedParts,
    recipe_for,
)


@pytest.mark.parametrize("family", ["nano", "earthsynth", "another"])
def test_what_is_asked_goes_before_what_suits_the_family(family: str) -> None:
    suits = Recipe.model_validate(FAMILY_DEFAULTS.get(family, {}))
    assert recipe_for(family, {}) == suits
    asked = recipe_for(family, {"trained": "lora", "steps": 7, "cf_comp": {"probability": 0}})
    assert asked.trained is TrainedParts.LORA
    assert asked.cf_comp.probability == 0
    assert asked == suits.model_copy(
        update={"trained": TrainedParts.LORA, "steps": 7, "cf_comp": asked.cf_comp}
    )


def test_the_method_s_numbers_are_the_defaults() -> None:
    recipe = Recipe()
    assert (recipe.cf_comp.probability, recipe.local_loss_weight) == (0.5, 1)
    assert (recipe.trained, recipe.dropped_mask) == (TrainedParts.CONTROLNET, DroppedMask.OWN)
    assert recipe.mixed_precision is Precision.AUTO


@pytest.mark.parametrize(
    "wrong",
    [
        {"resolution": 100},
        {"resolution": 2048},
        {"steps": 0},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"prompt_dropout": 1.5},
        {"ema_decay": 1},
        {"min_snr_gamma": 0},
        {"seed": -1},
        {"trained": "everything"},
        {"optimiser": "adamw"},
        {"batch_size": 6, "gradient_accumulation_steps": 4},
        {"validation": {"pictures": 0}},
    ],
)
def test_a_wrong_value_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        recipe_for("nano", wrong)


OTHER_VALUES: dict[str, object] = {
    "resolution": 256,
    "batch_size": 8,
    "gradient_accumulation_steps": 2,
    "learning_rate": 2e-5,
    "lr_schedule": "cosine",
    "warmup_steps": 1,
    "optimizer": "adamw_8bit",
    "weight_decay": 0,
    "max_grad_norm": 2,
    "trained": "lora",
    "lora_rank": 8,
    "mixed_precision": "bf16",
    "gradient_checkpointing": True,
    "ema_decay": 0.9,
    "min_snr_gamma": 5,
    "prompt_dropout": 0.2,
    "dropped_mask": "other",
    "max_zoom_out": 2,
    "orientations": False,
    "single_category": 0,
    "cf_comp": {"probability": 1},
    "local_loss_weight": 2,
    "seed": 1,
}
WITHOUT_EFFECT: dict[str, object] = {
    "checkpoint_every": 3,
    "keep_checkpoints": 5,
    "validation": {"every": 10, "seed": 4},
}


def test_every_field_is_in_the_digest_or_has_no_effect_on_the_weights() -> None:
    assert OTHER_VALUES.keys() | WITHOUT_EFFECT.keys() | {"steps"} == Recipe.model_fields.keys()
    plain = Recipe().digest
    changed = {name: Recipe.model_validate({name: value}).digest for name, value in OTHER_VALUES.items()}
    assert len({plain, *changed.values()}) == len(OTHER_VALUES) + 1
    for name, value in WITHOUT_EFFECT.items():
        assert Recipe.model_validate({name: value}).digest == plain, name


def test_more_steps_go_on_where_the_learning_rate_does_not_depend_on_them() -> None:
    constant, cosine = ({"lr_schedule": schedule} for schedule in (Schedule.CONSTANT, Schedule.COSINE))
    assert recipe_for("nano", constant | {"steps": 5}).digest == recipe_for("nano", constant).digest
    assert recipe_for("nano", cosine | {"steps": 5}).digest != recipe_for("nano", cosine).digest


def test_samples_are_cut_as_the_recipe_says() -> None:
    crops = Recipe(resolution=64, max_zoom_out=2, orientations=False, single_category=0.5).crops
    assert crops.model_dump() == {
        "size": 64,
        "max_zoom_out": 2,
        "orientations": False,
        "single_category": 0.5,
    }
