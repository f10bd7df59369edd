"""Answers that may be a moment old: several askers in that moment cost one look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Remembered(Generic[_K, _V]):
    """Values by key, each for `seconds` from when its look began; used from many threads."""

    def __init__(self, seconds: float, most: int = 1000) -> None:
        self._seconds, self._most = seconds, most
        self._lock = threading.Lock()
        self._known: dict[_K, tuple[float, _V]] = {}

    def get(self, key: _K, read: Callable[[], _V]) -> _V:
        """The value, read again when it is too old. What `read` raises is not remembered."""
        began = time.monotonic()
        with self._lock:
            known = self._known.get(key)
        if known is not None and began < known[0]:
            return known[1]
        value = read()
        with self._lock:
            if len(self._known) >= self._most:  # keys that whoever likes may make up
                self._known.clear()
            self._known[key] = (began + self._seconds, value)
        return value

    def is_fresh(self, key: _K) -> bool:
        """Whether `get` would answer at once; so it does if asked right away, but for a hair's breadth."""
        with self._lock:
            known = self._known.get(key)
        return known is not None and time.monotonic() < known[0]

    def forget(self, key: _K) -> None:
        with self._lock:
            self._known.pop(key, None)
