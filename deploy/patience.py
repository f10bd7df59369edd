"""How long commands wait for a service that is away: by the clock, and people are told."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from earthsynth import APIError, EarthSynthError
from earthsynth.retries import may_pass

PATIENCE_SECONDS = 120.0
"""How long a service that has answered once may be away."""
_LONGEST_RETRY_AFTER_SECONDS = 30.0
_FIRST_SECONDS, _LONGEST_SECONDS = 0.4, 5.0


class Patience:
    """A client's retry policy. `say` gets a line about the first repetition of a row."""

    def __init__(self, seconds: float, say: Callable[[str], None]) -> None:
        self.seconds, self._say, self._ends = seconds, say, 0.0

    def pause(self, failure: EarthSynthError, attempt: int) -> float | None:
        if not may_pass(failure):
            return None
        if attempt == 0:
            self._ends = time.monotonic() + self.seconds
        left = self._ends - time.monotonic()
        if left <= 0:
            return None
        if attempt == 0:
            words = f"{failure.detail} [{failure.code}]" if isinstance(failure, APIError) else f"{failure}."
            self._say(f"{words} Trying again for {self.seconds:.0f} s …")
        asked = failure.retry_after_seconds if isinstance(failure, APIError) else None
        wanted = (
            random.random() * min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0**attempt)  # noqa: S311  (no secret)
            if asked is None
            else min(asked, _LONGEST_RETRY_AFTER_SECONDS)
        )
        return min(wanted, left)

    def patient(self) -> Patience:
        return self
