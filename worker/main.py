"""The supervisor of one worker process: starts it, restarts it when it dies, kills it when it stalls."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from types import FrameType

from redis.exceptions import RedisError

from models.errors import EarthSynthError
from worker.logs import configure_logs, get_logger
from worker.pulse import Watch, pulse_environment
from worker.reconcile import give_back_lost
from worker.redis_client import connect
from worker.settings import Settings, settings
from worker.storage import Storage
from worker.store import Store
from worker.worker_list import withdraw_worker

log = get_logger(__name__)

# torch's CPU threads sleep while they wait for each other. Spinning gains a tenth on an idle machine, and costs a
# factor of twenty where another process has a core (docs/benchmarks.md).
_PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}

_SENDER, _WORKER = "worker.webhook_process", "worker.process"
_BACKOFF_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
_HEALTHY_SECONDS = 60.0  # a child that lived this long resets the back-off


def main() -> int:
    """Supervises until SIGTERM or SIGINT; returns the exit code."""
    config = settings()
    configure_logs(config, process="supervisor")
    stop = _StopFlag()
    deaths = 0
    while not stop.is_set():
        started = time.monotonic()
        name = f"earthsynth-worker-{socket.gethostname()}-{uuid.uuid4().hex[:12]}"
        code = _supervise(name, config, stop)
        if stop.is_set():
            break
        log.error("worker died", worker=name, exit=signal.Signals(-code).name if code < 0 else code)
        _release(name, config)
        deaths = 1 if time.monotonic() - started > _HEALTHY_SECONDS else deaths + 1
        stop.sleep(_BACKOFF_SECONDS[min(deaths - 1, len(_BACKOFF_SECONDS) - 1)])
    return 0


class _StopFlag:
    """Set by SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self._set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def is_set(self) -> bool:
        return self._set

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._set = True

    def sleep(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while not self._set and time.monotonic() < ends:
            time.sleep(0.1)


def _supervise(name: str, config: Settings, stop: _StopFlag) -> int:
    """Runs one child to its end; returns its exit code (negative: the signal that ended it)."""
    ours, theirs = os.pipe()
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", _SENDER if config.queue == "webhook" else _WORKER, name],
            env=_PATIENT_THREADS | os.environ | pulse_environment(theirs),
            pass_fds=[theirs],
            start_new_session=True,  # a terminal's Ctrl-C must reach the child only through us
            preexec_fn=_die_with_parent,  # noqa: PLW1509  (this process has no threads)
        )
    finally:
        os.close(theirs)
    watch = Watch(ours, config.stall_seconds, config.load_seconds, last=time.monotonic())
    try:
        while child.poll() is None and not stop.is_set():
            watch.wait(0.1)
            if watch.stalled:
                log.error("worker stalled, killed", worker=name, loading=watch.loading)
                child.kill()
                child.wait()
        if stop.is_set():
            _drain(name, child, config)
        return child.wait()
    finally:
        os.close(ours)


def _drain(name: str, child: subprocess.Popen[bytes], config: Settings) -> None:
    """Lets the child finish its job; after the drain time the job goes back to the queue for another worker."""
    child.terminate()
    try:
        child.wait(config.drain_seconds)
    except subprocess.TimeoutExpired:
        log.warning("worker did not drain in time, killed", worker=name)
        child.kill()
        child.wait()
        _release(name, config)


def _release(name: str, config: Settings) -> None:
    """Gives the dead child's job back at once, so that its successor need not wait for the lease to run out."""
    redis = connect(config)
    try:
        give_back_lost(redis, Store(redis), Storage(config), config, owner=name)
        withdraw_worker(redis, name)
    except (EarthSynthError, RedisError) as error:
        log.warning("leases not released, they will run out", worker=name, error=str(error))
    finally:
        redis.close()


def _die_with_parent() -> None:
    """Runs in the child before exec: it is killed when its supervisor is (Linux, prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
