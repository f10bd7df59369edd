from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch import Tensor, nn

from models.cfcomp.denoiser import Denoiser
from models.cfcomp.training_state import TrainingState
from models.errors import TrainingFailed


class CountingAdam(torch.optim.AdamW):
    """AdamW that also keeps what 8-bit optimisers keep: bytes, a table and a plain count for each parameter."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        super().step(closure)
        for group in self.param_groups:
            for value in group["params"]:
                kept = self.state[value]
                kept["count"] = kept.get("count", 0) + 1
                kept["factor"] = 0.1 * kept["count"]
                kept["table"] = torch.arange(4, dtype=torch.float32) * kept["count"]


def training(seed: int, *, averages: bool = True, scaler: bool = False, width: int = 3) -> TrainingState:
    torch.manual_seed(seed)
    frozen = nn.Linear(width, width).requires_grad_(False)
    denoiser = Denoiser(nn.Sequential(nn.Linear(width, width), nn.Conv2d(1, 2, 3)), frozen)
    parameters = list(denoiser.trained().values())
    optimizer = CountingAdam(parameters, lr=0.1)
    return TrainingState(
        denoiser,
        optimizer,
        get_scheduler("cosine", optimizer, num_warmup_steps=2, num_training_steps=10),
        EMAModel(parameters, decay=0.9) if averages else None,
        torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=2) if scaler else None,
    )


def advance(state: TrainingState, steps: int, seed: int = 0) -> None:
    draw = torch.Generator().manual_seed(seed)
    parameters = list(state.denoiser.trained().values())
    for _ in range(steps):
        for value in parameters:
            value.grad = torch.randn(value.shape, generator=draw)
        state.optimizer.step()
        state.rates.step()
        if state.averages is not None:
            state.averages.step(parameters)


def everything(state: TrainingState) -> dict[str, Any]:
    found: dict[str, Any] = dict(state.denoiser.state_dict())
    for number, kept in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": value for name, value in kept.items()}
    found["lr"] = [group["lr"] for group in state.optimizer.param_groups]
    found["rates"] = (state.rates.last_epoch, state.rates.get_last_lr())
    if state.averages is not None:
        found |= {f"average.{k}": value for k, value in enumerate(state.averages.shadow_params)}
        found["averaged"] = state.averages.optimization_step
    if state.scaler is not None:
        found["scaler"] = state.scaler.state_dict()
    return found


def assert_equal(one: dict[str, Any], other: dict[str, Any], *, but: str = " ") -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name.startswith(but):
            continue
        same = torch.equal(value, other[name]) if isinstance(value, Tensor) else value == other[name]
        assert same, name
        assert type(value) is type(other[name])


@pytest.mark.parametrize("averages", [True, False])
@pytest.mark.parametrize("scaler", [True, False])
def test_a_training_goes_on_from_what_was_written(tmp_path: Path, averages: bool, scaler: bool) -> None:
    """Into another training with other weights; and both go on alike."""
    one = training(1, averages=averages, scaler=scaler)
    advance(one, 3)
    if one.scaler is not None:
        one.scaler.load_state_dict(one.scaler.state_dict() | {"scale": 128.0, "_growth_tracker": 1})
    one.write(tmp_path)
    before = everything(one)
    assert before["optimizer.0.count"] == 3

    two = training(2, averages=averages, scaler=scaler)
    frozen = two.denoiser.unet.weight.clone()
    advance(two, 1, seed=9)
    places = [value.data_ptr() for value in two.denoiser.trained().values()]
    two.read(tmp_path)
    assert_equal(before, everything(two), but="unet.")
    assert torch.equal(two.denoiser.unet.weight, frozen), "what is not trained is not in a checkpoint"
    assert [value.data_ptr() for value in two.denoiser.trained().values()] == places, "in place"
    advance(one, 4, seed=5)
    advance(two, 4, seed=5)
    assert_equal(everything(one), everything(two), but="unet.")


def test_nothing_in_a_checkpoint_can_run_code(tmp_path: Path) -> None:
    state = training(1, scaler=True)
    advance(state, 1)
    state.write(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["ema.safetensors", "optimizer.safetensors", "state.json", "weights.safetensors"]
    for path in tmp_path.iterdir():
        body = path.read_bytes()
        assert body[:2] not in {b"PK", b"\x80\x04"}
        assert b"__reduce__" not in body
        assert b"torch." not in body
    assert load_file(tmp_path / "weights.safetensors").keys() == state.denoiser.trained().keys()


def test_a_state_before_the_first_step_can_be_written(tmp_path: Path) -> None:
    one, two = training(1), training(2)
    one.write(tmp_path)
    two.read(tmp_path)
    advance(one, 2)
    advance(two, 2)
    assert_equal(everything(one), everything(two), but="unet.")


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_any_layout_in_memory_is_written(tmp_path: Path, layout: torch.memory_format) -> None:
    one, two = training(1), training(2)
    one.denoiser.controlnet[1].to(memory_format=layout)
    advance(one, 1)
    one.write(tmp_path)
    two.read(tmp_path)
    assert_equal(everything(one), everything(two), but="unet.")


def test_other_networks_are_refused(tmp_path: Path) -> None:
    one = training(1)
    advance(one, 1)
    one.write(tmp_path)
    other = training(1, width=4)
    before = [value.clone() for value in other.denoiser.trained().values()]
    with pytest.raises(TrainingFailed) as refused:
        other.read(tmp_path)
    assert refused.value.code == "checkpoint_of_another_recipe"
    assert all(
        np.array_equal(one_.detach(), two.detach())
        for one_, two in zip(before, other.denoiser.trained().values(), strict=True)
    )
