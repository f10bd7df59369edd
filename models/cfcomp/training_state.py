"""What a killed training needs to go on: weights, their average, optimiser, learning rate and loss scale, as files.

Only safetensors and JSON, no pickles. There is no random state to keep: every draw of a step is made from
(seed, step), and the sampler's place is the step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.cfcomp.denoiser import Denoiser
from models.errors import TrainingFailed

_WEIGHTS, _AVERAGES, _OPTIMIZER, _REST = (
    "weights.safetensors",
    "ema.safetensors",
    "optimizer.safetensors",
    "state.json",
)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """The parts of a running training that change. `averages` and `scaler` are null where there are none."""

    denoiser: Denoiser
    optimizer: torch.optim.Optimizer
    rates: torch.optim.lr_scheduler.LRScheduler
    averages: EMAModel | None
    scaler: Any

    def write(self, folder: Path) -> None:
        """Write the state into an empty folder. Raises OSError, SafetensorError."""
        names = list(self.denoiser.trained())
        save_file(_stored(self.denoiser.trained()), folder / _WEIGHTS)
        if self.averages is not None:
            save_file(_stored(dict(zip(names, self.averages.shadow_params, strict=True))), folder / _AVERAGES)
        tensors, plain = _split(self.optimizer.state_dict()["state"])
        save_file(_stored(tensors), folder / _OPTIMIZER)
        rest = {
            "optimizer": plain,
            "rates": {name: value for name, value in self.rates.state_dict().items() if name != "lr_lambdas"},
            "averages": 0 if self.averages is None else self.averages.optimization_step,
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }
        (folder / _REST).write_text(json.dumps(rest), encoding="utf-8")

    def read(self, folder: Path) -> None:
        """Take over the state of a folder, in place.

        Raises:
            TrainingFailed: code "checkpoint_of_another_recipe": it is of other networks.
        """
        _take_over(self.denoiser.trained(), load_file(folder / _WEIGHTS))
        rest = json.loads((folder / _REST).read_bytes())
        if self.averages is not None:
            names = list(self.denoiser.trained())
            stored = load_file(folder / _AVERAGES)
            _take_over(dict(zip(names, self.averages.shadow_params, strict=True)), stored)
            self.averages.optimization_step = rest["averages"]
        groups = self.optimizer.state_dict()["param_groups"]
        state = _joined(load_file(folder / _OPTIMIZER), rest["optimizer"])
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.rates.load_state_dict(rest["rates"] | {"lr_lambdas": [None]})
        for group, rate in zip(self.optimizer.param_groups, self.rates.get_last_lr(), strict=True):
            group["lr"] = rate
        if self.scaler is not None and rest["scaler"] is not None:
            self.scaler.load_state_dict(rest["scaler"])


def _stored(tensors: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


@torch.no_grad()
def _take_over(own: dict[str, Any], stored: dict[str, Tensor]) -> None:
    if own.keys() != stored.keys() or any(own[name].shape != stored[name].shape for name in own):
        raise TrainingFailed(
            "The checkpoint holds other weights than this recipe trains; train into a new folder.",
            code="checkpoint_of_another_recipe",
        )
    for name, value in own.items():
        value.copy_(stored[name])


def _split(state: dict[int, dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Return an optimiser's tensors as "<parameter>.<name>", and by parameter what is no tensor."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for number, entries in state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{name}"] = value
            else:
                plain.setdefault(str(number), {})[name] = value
    return tensors, plain


def _joined(tensors: dict[str, Tensor], plain: dict[str, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {int(number): dict(entries) for number, entries in plain.items()}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    return state
