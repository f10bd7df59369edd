"""What a killed training run needs to go on, and the running average of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.nano.budget import Budget

_HIGHEST_DECAY = 0.995  # for runs of some thousand steps; a long run on a GPU wants 0.999


class Averages:
    """Exponential average of a module's weights; its decay rises with the number of updates."""

    def __init__(self, module: nn.Module) -> None:
        self._weights = list(module.parameters())
        self.averages = [weight.detach().clone() for weight in self._weights]
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the module's present weights."""
        self.updates += 1
        decay = min(_HIGHEST_DECAY, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.averages, [weight.detach() for weight in self._weights], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages into the module for the length of a `with` block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for weight, average in zip(self._weights, self.averages, strict=True):
            kept: Tensor = weight.detach().clone()
            weight.copy_(average)
            average.copy_(kept)


def save_state(
    path: Path,
    modules: nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: Averages,
    budget: Budget,
    rng: np.random.Generator,
) -> None:
    """Write weights, optimiser, averages, random states and time used to `path`, in one rename."""
    state = {
        "modules": modules.state_dict(),
        "optimizer": optimizer.state_dict(),
        "averages": averages.averages,
        "updates": averages.updates,
        "seconds": budget.seconds,
        "steps": budget.steps,
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": rng.bit_generator.state,
    }
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


def load_state(
    path: Path,
    modules: nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: Averages,
    budget: Budget,
    rng: np.random.Generator,
) -> None:
    """Put back what `save_state` wrote, in place; do nothing if there is no such file."""
    if not path.exists():
        return
    state: dict[str, Any] = torch.load(path, weights_only=True)
    modules.load_state_dict(state["modules"])
    optimizer.load_state_dict(state["optimizer"])
    for average, stored in zip(averages.averages, state["averages"], strict=True):
        average.copy_(stored)
    averages.updates = state["updates"]
    budget.seconds_before, budget.steps = state["seconds"], state["steps"]
    torch.set_rng_state(state["torch_rng"])
    rng.bit_generator.state = state["numpy_rng"]
