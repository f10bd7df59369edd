"""The arms of the ablation, what each trains with, and which of them are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.cfcomp.recipe import Recipe

START = "start"  # the base itself, not trained on


@dataclass(frozen=True, slots=True)
class Arm:
    """`probability` is p, of composing a matched pair; `local_weight` is lambda."""

    probability: float
    local_weight: float

    @property
    def name(self) -> str:
        return f"p={self.probability:g},l={self.local_weight:g}"

    def recipe(self, common: Recipe, seed: int) -> Recipe:
        """Return the common recipe with this arm's p and lambda; nothing else differs between arms of a seed."""
        options = common.cf_comp.model_copy(update={"probability": self.probability})
        update = {"cf_comp": options, "local_loss_weight": self.local_weight, "seed": seed}
        return common.model_copy(update=update)


PLAIN, LOCAL, COMPOSED, BOTH = Arm(0, 0), Arm(0, 1), Arm(0.5, 0), Arm(0.5, 1)
ARMS = (PLAIN, LOCAL, COMPOSED, BOTH)

# Each contrast is a weighted sum of arms. The first two use all four arms and are the sharpest.
CONTRASTS: Mapping[str, Mapping[str, float]] = {
    "composition, over both l": {COMPOSED.name: 0.5, BOTH.name: 0.5, PLAIN.name: -0.5, LOCAL.name: -0.5},
    "local loss, over both p": {LOCAL.name: 0.5, BOTH.name: 0.5, PLAIN.name: -0.5, COMPOSED.name: -0.5},
    "composition, l=0": {COMPOSED.name: 1, PLAIN.name: -1},
    "composition, l=1": {BOTH.name: 1, LOCAL.name: -1},
    "local loss, p=0": {LOCAL.name: 1, PLAIN.name: -1},
    "local loss, p=0.5": {BOTH.name: 1, COMPOSED.name: -1},
    "both": {BOTH.name: 1, PLAIN.name: -1},
    "training on, plain": {PLAIN.name: 1, START: -1},
    "training on, both": {BOTH.name: 1, START: -1},
}
