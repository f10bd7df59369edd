"""Who is told how a training goes, and what: one report a step. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # it brings torch
    from models.cfcomp.validation import Validation


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step. `step` counts from 1; losses are means over the whole batch; `composed` counts its composites.

    `whole` is the global loss. `images_per_second` and `eta_seconds` are measured over the last steps.
    """

    step: int
    steps: int
    whole: float
    local: float
    learning_rate: float
    grad_norm: float
    composed: int
    images_per_second: float
    eta_seconds: float

    @property
    def metrics(self) -> dict[str, float]:
        """What people follow, by the names that jobs and TensorBoard give it."""
        return {
            "loss_global": self.whole,
            "loss_local": self.local,
            "learning_rate": self.learning_rate,
            "images_per_second": self.images_per_second,
        }


class StopSoon(BaseException):
    """Raised by a listener's `stepped`: the training saves a checkpoint, and ends with this very exception."""


class Listener(Protocol):
    """Who is told how a training goes. Whatever it raises ends the training; the last checkpoint stays."""

    def began(self, step: int, steps: int) -> None:
        """The training begins, or goes on, after this step (0: at the beginning)."""

    def stepped(self, report: StepReport) -> None:
        """A step is done."""

    def saved(self, step: int, name: str) -> None:
        """A whole checkpoint is kept."""

    def validated(self, found: Validation) -> None:
        """Pictures were made of the fixed masks."""

    def warned(self, message: str) -> None:
        """Something is not as it should be, and the training goes on."""

    def working(self) -> None:
        """Something that takes long has moved on."""
