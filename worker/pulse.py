"""How a worker process shows its supervisor that it makes progress: one byte through a pipe at each step."""

from __future__ import annotations

import os
import select
import time
from dataclasses import dataclass

_VARIABLE = "EARTHSYNTH_PULSE_FD"
ALIVE, LOADING = b".", b"L"


class Pulse:
    """The child's end. It never blocks: a full pipe holds enough proof of life already."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)

    @classmethod
    def from_environment(cls) -> Pulse:
        return cls(int(os.environ[_VARIABLE]))

    def alive(self) -> None:
        self._write(ALIVE)

    def loading(self) -> None:
        """From here to the next `alive` a model is being loaded, which may take much longer than a step."""
        self._write(LOADING)

    def _write(self, beat: bytes) -> None:
        try:
            os.write(self._fd, beat)
        except BlockingIOError:
            return


@dataclass(slots=True)
class Watch:
    """The supervisor's end: how long the child may still be silent."""

    fd: int
    stall_seconds: float
    load_seconds: float
    last: float = 0.0
    loading: bool = True

    def wait(self, seconds: float) -> None:
        """Waits up to that long for a sign of life."""
        readable, _, _ = select.select([self.fd], [], [], seconds)
        if readable:
            beats = os.read(self.fd, 65536)
            if beats:
                self.loading = beats.endswith(LOADING)
                self.last = time.monotonic()
            else:  # the child is gone; its exit is noticed by the caller
                time.sleep(seconds)

    @property
    def stalled(self) -> bool:
        allowed = self.load_seconds if self.loading else self.stall_seconds
        return time.monotonic() - self.last > allowed


def pulse_environment(fd: int) -> dict[str, str]:
    return {_VARIABLE: str(fd)}
