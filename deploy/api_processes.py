"""More API processes than one: they take connections from one listening socket, as their cores are free."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deploy import die_with_parent
from worker.logs import get_logger

log = get_logger(__name__)

_AGAIN_SECONDS = 1.0  # after which a process that died is started again
_STOP_SECONDS = 6.0


@contextmanager
def helped_by(processes: int, listening: socket.socket) -> Iterator[None]:
    """Inside, so many processes serve from the socket as well; each that dies is started again."""
    helpers = [_Helper(listening.fileno()) for _ in range(processes)]
    closing = threading.Event()

    def keep_alive() -> None:
        # They die with the thread that starts them, so this one starts them all, and outlives them.
        while True:
            for helper in helpers:
                helper.start_if_dead()
            if closing.wait(_AGAIN_SECONDS):
                break
        for helper in helpers:
            helper.stop()

    thread = threading.Thread(target=keep_alive, name="api-processes")
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()


@contextmanager
def common_metrics(processes: int) -> Iterator[None]:
    """Inside, what several processes count lies where each of them reads all of it, see `app/metrics.py`.

    To be entered before anything imports prometheus_client, which looks for the folder then.
    """
    name = "PROMETHEUS_MULTIPROC_DIR"
    if processes == 1 or name in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="earthsynth-metrics-") as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            del os.environ[name]


class _Helper:
    """`earthsynth serve` in a process of its own, on a socket that is given to it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._process: subprocess.Popen[bytes] | None = None

    def start_if_dead(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            log.warning("an API process died, starting it again", exit_code=self._process.returncode)
        shim = [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())]
        serve = [sys.executable, "-m", "deploy.cli", "serve", "--socket", str(self._descriptor)]
        self._process = subprocess.Popen(
            [*shim, *serve],
            pass_fds=(self._descriptor,),
            stdin=subprocess.DEVNULL,
            env=os.environ | {"EARTHSYNTH_API_PROCESSES": "1"},
        )

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
