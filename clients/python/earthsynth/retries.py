"""When a request is sent again, and after what pause. Pure: the caller sleeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from earthsynth.errors import APIConnectionError, APIError, EarthSynthError

_AGAIN = frozenset({408, 429, 502, 503, 504})
_FIRST_SECONDS, _LONGEST_SECONDS = 0.5, 8.0
LONGEST_RETRY_AFTER_SECONDS = 120.0
"""What Retry-After may ask for; more is left to the caller, who may have something better to do."""


class Retries(Protocol):
    """What decides about another attempt. Programs with ideas of their own give the client one."""

    def pause(self, failure: EarthSynthError, attempt: int) -> float | None:
        """Seconds until the next attempt; None: the failure is final. `attempt` counts from 0."""

    def patient(self) -> Retries:
        """The same for whoever waits for a job anyway."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`jitter` returns a number in [0, 1)."""

    max_retries: int
    jitter: Callable[[], float]

    def pause(self, failure: EarthSynthError, attempt: int) -> float | None:
        """Seconds until the next attempt; None: the failure is final. `attempt` counts from 0.

        The service's own Retry-After, and a little more so that callers do not come back all at once; else full
        jitter: anything up to a bound that doubles.
        """
        if attempt >= self.max_retries or not may_pass(failure):
            return None
        asked = failure.retry_after_seconds if isinstance(failure, APIError) else None
        if asked is None:
            return self.jitter() * min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0**attempt)
        if asked > LONGEST_RETRY_AFTER_SECONDS:
            return None
        return asked + self.jitter() * min(_FIRST_SECONDS, asked)

    def patient(self) -> RetryPolicy:
        """For whoever waits for a job anyway: a service may be away longer than one request would wait."""
        return replace(self, max_retries=4 * self.max_retries)


def may_pass(failure: EarthSynthError) -> bool:
    """Whether the same request may succeed later: nobody answered, or someone who says: not now.

    Other 4xx never: they say that nothing was started, and why. 409 only where the first copy of the same request is
    still at work; 500 where the service says so, or where a proxy answered in its place.
    """
    if isinstance(failure, APIConnectionError):
        return True
    if not isinstance(failure, APIError):
        return False
    if failure.status in _AGAIN:
        return True
    if failure.status == 409:
        return failure.retryable or failure.code == "idempotency_in_progress"
    return failure.status >= 500 and failure.retryable


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the answer asks to wait, from either form of the header; None for none, or nonsense."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
