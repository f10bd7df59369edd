"""Signals that stop a stack in the foreground."""

from __future__ import annotations

import signal
import time
from types import FrameType

from deploy.localstack import LocalStack


def stop_on_signals(stack: LocalStack) -> None:
    """Let the first SIGINT, SIGTERM or SIGHUP stop the stack in order, and the second one kill it.

    Explicit handlers, because a shell starts background commands with SIGINT ignored. One wish to stop may
    arrive twice, from the terminal and from `make`, so a second signal counts only after a second.
    """
    first: list[float] = []

    def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  (the shape of a signal handler)
        if first and time.monotonic() - first[0] > 1.0:
            stack.hurry.set()
        first.append(time.monotonic())
        stack.stop_requested.set()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
