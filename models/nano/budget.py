"""How long a training stage lasts, and the learning rate that follows from it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Budget:
    """A stage ends after `minutes` of wall clock or `max_steps`, whichever comes first.

    By the clock, because the recipe runs on shared CPUs whose speed changes under it; `seconds_before` and
    `steps` carry what an earlier, interrupted run has used.
    """

    minutes: float
    max_steps: int | None = None
    seconds_before: float = 0.0
    steps: int = 0
    _start: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Wall clock used so far, earlier runs included."""
        return self.seconds_before + time.monotonic() - self._start

    @property
    def progress(self) -> float:
        """Share of the stage that is over, in [0, 1]."""
        by_steps = self.steps / self.max_steps if self.max_steps else 0.0
        return min(1.0, max(self.seconds / (60 * self.minutes), by_steps))

    @property
    def over(self) -> bool:
        return self.progress >= 1.0

    def learning_rate(self, peak: float, *, warm_up_steps: int = 50, floor: float = 0.05) -> float:
        """Linear warm-up over steps, then a cosine over progress from `peak` to `floor` times `peak`."""
        cosine = floor + (1 - floor) * (1 + math.cos(math.pi * self.progress)) / 2
        return peak * min(1.0, (self.steps + 1) / warm_up_steps) * cosine
