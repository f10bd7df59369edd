from __future__ import annotations

import copy
import importlib.util
from typing import Any

import pytest
import torch

from models.catalog import nano_card
from models.cfcomp.denoiser import Denoiser, make_denoiser, make_optimizer, prediction_of
from models.cfcomp.loss import Prediction
from models.cfcomp.recipe import TrainedParts
from models.errors import TrainingFailed
from models.model_card import ModelCard
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from tests.models.cfcomp.trainings import small


def fresh(card: ModelCard) -> LoadedPipeline:
    return load_pipeline(card, device="cpu", dtype=torch.float32)


def inputs(channels: int, width: int, batch: int = 2) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(0)
    return (
        torch.randn(batch, channels, 8, 8, generator=draw),
        torch.tensor([3, 900])[:batch],
        torch.randn(batch, 77, width, generator=draw),
        torch.rand(batch, 3, 64, 64, generator=draw),
    )


@pytest.mark.parametrize("parts", list(TrainedParts))
def test_exactly_what_is_asked_is_trained(toy: ModelCard, parts: TrainedParts) -> None:
    loaded = fresh(toy)
    controlnet = {f"controlnet.{name}" for name, _ in loaded.pipe.controlnet.named_parameters()}
    unet = {f"unet.{name}" for name, _ in loaded.pipe.unet.named_parameters()}
    attentions = sum(name.endswith("to_q") for name, _ in loaded.pipe.unet.named_modules())
    trained = make_denoiser(loaded, small("earthsynth", trained=parts, lora_rank=3), half=None).trained()
    assert controlnet <= trained.keys()
    extra = trained.keys() - controlnet
    if parts is TrainedParts.CONTROLNET:
        assert not extra
    elif parts is TrainedParts.UNET:
        assert extra == unet
    else:
        assert len(extra) == 2 * 4 * attentions > 0
        assert all(".attn" in name and ".lora_" in name for name in extra)
        assert {min(trained[name].shape) for name in extra} == {3}
    assert all(value.dtype == torch.float32 for value in trained.values())
    for part in (loaded.pipe.vae, loaded.pipe.text_encoder):
        assert not any(value.requires_grad for value in part.parameters())


def test_the_answer_is_that_of_both_networks(nano: LoadedPipeline) -> None:
    """The ControlNet's residuals added by hand inside a plain UNet: every skip, and the middle."""
    denoiser = Denoiser(nano.pipe.controlnet, nano.pipe.unet)
    noisy, times, text, control = inputs(12, 64)
    with torch.no_grad():
        found = denoiser(noisy, times, text, control)
        answer = nano.pipe.controlnet(noisy, times, encoder_hidden_states=text, controlnet_cond=control)
        wanted = nano.pipe.unet(
            noisy,
            times,
            encoder_hidden_states=text,
            down_block_additional_residuals=answer.down_block_res_samples,
            mid_block_additional_residual=answer.mid_block_res_sample,
        ).sample
        without = nano.pipe.unet(noisy, times, encoder_hidden_states=text).sample
    assert torch.equal(found, wanted)
    assert (found - without).abs().max() > 0.01


def test_low_rank_updates_begin_at_nothing(toy: ModelCard) -> None:
    loaded = fresh(toy)
    noisy, times, text, control = inputs(4, 16)
    with torch.no_grad():
        before = Denoiser(loaded.pipe.controlnet, loaded.pipe.unet)(noisy, times, text, control)
        denoiser = make_denoiser(loaded, small("earthsynth", trained="lora"), half=None)
        assert torch.equal(denoiser(noisy, times, text, control), before)


def test_low_rank_updates_begin_with_the_recipe_s_seed(toy: ModelCard) -> None:
    """A run that dies before its first checkpoint begins again with the same numbers, and so does each process."""

    def start(seed: int) -> dict[str, Any]:
        torch.rand(seed + 1)  # whatever else has drawn in this process
        recipe = small("earthsynth", trained="lora", seed=seed)
        return make_denoiser(fresh(toy), recipe, half=None).trained()

    state = torch.get_rng_state()
    one, two, other = start(0), start(0), start(1)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    torch.set_rng_state(state)


def test_frozen_networks_are_kept_in_half_and_trained_ones_are_not(toy: ModelCard) -> None:
    kinds = {}
    for parts in TrainedParts:
        recipe = small("earthsynth", trained=parts, mixed_precision="bf16")
        denoiser = make_denoiser(fresh(toy), recipe, half=torch.bfloat16)
        frozen = {value.dtype for value in denoiser.parameters() if not value.requires_grad}
        kinds[parts] = frozen
        assert {value.dtype for value in denoiser.trained().values()} == {torch.float32}
    assert kinds == {
        TrainedParts.CONTROLNET: {torch.bfloat16},
        TrainedParts.LORA: {torch.bfloat16},
        TrainedParts.UNET: set(),
    }


def test_gradient_checkpointing_changes_no_number() -> None:
    noisy, times, text, control = inputs(12, 64)
    found = []
    for checkpointing in (False, True):
        recipe = small(gradient_checkpointing=checkpointing)
        denoiser = make_denoiser(fresh(nano_card()), recipe, half=None)
        assert denoiser.unet.is_gradient_checkpointing is checkpointing
        assert denoiser.controlnet.is_gradient_checkpointing is checkpointing
        answer = denoiser(noisy, times, text, control)
        answer.square().mean().backward()
        found.append((answer.detach(), [value.grad for value in denoiser.trained().values()]))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.allclose(one, two, atol=1e-7) for one, two in zip(found[0][1], found[1][1], strict=True))


def test_the_optimiser_moves_what_is_trained_alone(toy: ModelCard) -> None:
    denoiser = make_denoiser(fresh(toy), small("earthsynth", weight_decay=0.5), half=None)
    before = copy.deepcopy(denoiser.state_dict())
    optimizer = make_optimizer(denoiser, small("earthsynth", weight_decay=0.5, learning_rate=0.1))
    denoiser(*inputs(4, 16)).square().mean().backward()
    optimizer.step()
    changed = {name for name, value in denoiser.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("controlnet.") for name in changed)
    assert optimizer.defaults["lr"] == 0.1
    assert optimizer.defaults["weight_decay"] == 0.5


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_eight_bits_need_their_package(toy: ModelCard) -> None:
    recipe = small("earthsynth", optimizer="adamw_8bit")
    with pytest.raises(TrainingFailed, match="bitsandbytes") as refused:
        make_optimizer(make_denoiser(fresh(toy), recipe, half=None), recipe)
    assert refused.value.code == "optimizer_unavailable"


def test_what_a_model_predicts(nano: LoadedPipeline, toy: ModelCard) -> None:
    assert prediction_of(nano) is Prediction.VELOCITY
    loaded = fresh(toy)
    assert prediction_of(loaded) is Prediction.EPSILON
    loaded.scheduler_config = dict(loaded.scheduler_config) | {"prediction_type": "sample"}
    with pytest.raises(TrainingFailed) as refused:
        prediction_of(loaded)
    assert refused.value.code == "unsupported_prediction"
