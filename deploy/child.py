"""One child process: started in its own session, logged to a file, stopped with a time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_SHIM = Path(__file__).with_name("die_with_parent.py")
_LOG_BYTES = 16_000_000


class Child:
    """A program that is running, has ended, or was never started.

    Its own session keeps a terminal's Ctrl-C away: the stack decides the order in which its parts stop.
    `descriptors` are the caller's open files that it gets as well, under the same numbers, at every start.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        stop_seconds: float,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        self.stop_seconds = stop_seconds
        self.started_at = 0.0
        self.died_at: float | None = None
        self.failures = 0
        self._argv = list(argv)
        self._env = dict(env)
        self._descriptors = tuple(descriptors)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs (or before its first start); -N when signal N ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it (again). It dies with the calling thread, see `die_with_parent`."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        shim = [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid())]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                shim + self._argv,
                env=self._env,
                pass_fds=self._descriptors,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started_at = time.monotonic()
        self.died_at = None

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM)."""
        if self._process is not None and self.alive:
            self._process.terminate()

    def wait_stopped(self, hurry: Callable[[], bool]) -> None:
        """Wait at most `stop_seconds` for its end, less when `hurry()`, then kill what is left of it."""
        if self._process is None:
            return
        deadline = time.monotonic() + self.stop_seconds
        while self.alive and time.monotonic() < deadline and not hurry():
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):  # nothing of its session is left: what we want
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_lines(self, count: int = 12) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 20_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])
