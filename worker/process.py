"""The worker process: one device and one queue, with a resident pipeline or for trainings.

Started by `worker.main`, never by hand.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, cast

from redis import Redis
from redis.exceptions import RedisError

from models.catalog import catalog, find_model
from models.errors import EarthSynthError, Unavailable
from worker.intake import Intake
from worker.jobs import JobKind, ModelRef, now
from worker.layout import LOCAL_TENANT
from worker.lease import Lease
from worker.lease_worker import LeaseQueue, LeaseWorker
from worker.logs import configure_logs, get_logger
from worker.pulse import Pulse
from worker.queue import QUEUE_NAME, SHARD_TASK, TASKS, TRAINING_QUEUE, AllowListJob
from worker.reconcile import give_back_lost, reconcile
from worker.redis_client import connect
from worker.registry import ModelRegistry
from worker.run import Resources
from worker.runtime import perform
from worker.settings import Settings, settings
from worker.storage import Storage
from worker.store import Store
from worker.sweeping import sweep_if_due
from worker.worker_list import WorkerEntry, announce, withdraw_worker

if TYPE_CHECKING:  # it brings torch
    from worker.gpu import Gpu

log = get_logger(__name__)

EXIT_CANNOT_START = 3  # the supervisor waits before it tries again


def run_worker(name: str, pulse: Pulse) -> int:
    """Makes ready what its queue needs and works until told to stop; returns the exit code."""
    config = settings()
    configure_logs(config, process=name)
    redis, beat = connect(config, patient=True), connect(config)
    storage = Storage(config)
    cards = catalog(config.model_names, base=config.earthsynth_base, controlnet=config.earthsynth_controlnet)
    models = ModelRegistry(storage, cards, config.default_model)
    with _uncollected():
        gpu = _gpu(config, models, pulse)
    registry = Registry(name, Store(beat), gpu, queue=config.queue, seconds=config.lease_seconds)
    worker = LeaseWorker([config.queue], name=name, connection=redis, beat=beat)
    resources = Resources(
        config,
        name,
        Store(redis),
        storage,
        models,
        gpu,
        pulse.alive,
        pulse.loading,
        worker.stopping.is_set,
    )
    LeaseQueue.lease_seconds = config.lease_seconds
    LeaseQueue.idle = pulse.alive
    _allow(worker, registry, _steps(resources))

    threading.Thread(target=_beat, args=(worker, registry, config), name="beat", daemon=True).start()
    try:
        pulse.loading()
        storage.prepare()
        card = find_model(cards, config.default_model)
        if config.queue == QUEUE_NAME:
            gpu.pipeline(f"{card.name}@{card.version}", LOCAL_TENANT)
    except EarthSynthError as error:
        log.error("worker cannot start", code=error.code, detail=error.message)  # noqa: TRY400  (no traceback)
        registry.failed(error.message)
        return EXIT_CANNOT_START
    registry.ready(lambda: worker.lease.job_id if worker.lease else None)
    threading.Thread(target=_tend, args=(redis, resources), name="tend", daemon=True).start()
    log.info("worker ready", pid=os.getpid(), queue=config.queue)
    while not worker.stopping.is_set():  # RQ's loop ends on a Redis outage; the model stays resident
        worker.work(logging_level="WARNING")
        if not worker.stopping.is_set():
            time.sleep(1)
    registry.withdraw()
    return 0


@contextmanager
def _uncollected() -> Iterator[None]:
    """Inside, Python's collector rests: it takes a fifth of the time in which torch and diffusers are imported.

    What is there at the end stays for good, so no later collection looks through it again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _NoPipeline:
    """Stands where a training process has no resident pipeline: torch is loaded with the first training only."""

    resident: ModelRef | None = None
    device: str | None = None


def _gpu(config: Settings, models: ModelRegistry, pulse: Pulse) -> Gpu:
    if config.queue == TRAINING_QUEUE:
        return cast("Gpu", _NoPipeline())
    from worker.gpu import Gpu

    return Gpu(config, models, pulse.loading)


def _steps(resources: Resources) -> dict[str, Callable[[Lease], None]]:
    """What this process runs, by the names that entries of its queue carry."""
    if resources.settings.queue == TRAINING_QUEUE:
        from worker.training import train_model

        return {TASKS[JobKind.TRAINING]: lambda lease: perform(resources, lease, train_model)}
    from worker.conducting import conduct
    from worker.sharding import perform_shard
    from worker.tasks import export, generate, make_shard

    return {
        TASKS[JobKind.GENERATION]: lambda lease: perform(resources, lease, generate),
        TASKS[JobKind.DATASET]: lambda lease: conduct(resources, lease),
        TASKS[JobKind.EXPORT]: lambda lease: perform(resources, lease, export),
        SHARD_TASK: lambda lease: perform_shard(resources, lease, make_shard),
    }


def _allow(worker: LeaseWorker, registry: Registry, steps: Mapping[str, Callable[[Lease], None]]) -> None:
    """Fills the allow-list: each name runs its step under the lease that the worker holds."""

    def leased(step: Callable[[Lease], None]) -> Callable[[str], None]:
        def call(job_id: str) -> None:
            lease = worker.lease
            if lease is None or lease.job_id != job_id:
                raise PermissionError(f"no lease on {job_id}")
            registry.announce()  # busy from now on, not from the next heartbeat on
            step(lease)

        return call

    AllowListJob.tasks = {name: leased(step) for name, step in steps.items()}


class Registry:
    """This worker's entry in the list of workers."""

    def __init__(self, name: str, store: Store, gpu: Gpu, *, queue: str, seconds: float) -> None:
        self._name, self._store, self._gpu, self._seconds = name, store, gpu, seconds
        self._queue = queue
        self._status, self._reason = "starting", ""
        self._started: datetime = now()
        self._job: Callable[[], str | None] = lambda: None

    def ready(self, job: Callable[[], str | None]) -> None:
        self._status, self._job = "ready", job
        self.announce()

    def failed(self, reason: str) -> None:
        """Shown for a minute after this process has ended, so that `GET /v1/workers` says why."""
        self._status, self._reason = "failed", reason
        self.announce(seconds=60)

    def announce(self, *, seconds: float | None = None) -> None:
        job, resident = self._job(), self._gpu.resident
        entry = WorkerEntry(
            name=self._name,
            host=socket.gethostname(),
            pid=os.getpid(),
            status="busy" if job and self._status == "ready" else self._status,
            reason=self._reason or None,
            device=self._gpu.device,
            model=resident.model_dump() if resident else None,
            job=job,
            queue=self._queue,
            started_at=self._started,
            seen_at=now(),
        )
        try:
            announce(self._store.redis, entry, seconds=seconds or self._seconds)
        except Unavailable as error:
            log.warning("worker not announced", detail=error.message)

    def withdraw(self) -> None:
        try:
            withdraw_worker(self._store.redis, self._name)
        except Unavailable as error:
            log.warning("worker not withdrawn", detail=error.message)


def _beat(worker: LeaseWorker, registry: Registry, config: Settings) -> None:
    """Renews the lease and the registry entry, whatever the main thread is doing."""
    every = min(config.heartbeat_seconds, 1.0)
    while registry._status != "failed":
        lease = worker.lease
        if lease is not None:
            lease.renew()
        registry.announce()
        time.sleep(every)


def _tend(redis: Redis, resources: Resources) -> None:
    """Gives back what dead workers held, and reconciles S3 with Redis, at their intervals."""
    config, last = resources.settings, float("-inf")
    while True:
        try:
            give_back_lost(redis, resources.store, resources.storage, config)
            if time.monotonic() - last >= config.reconcile_seconds:
                reconcile(redis, resources.store, resources.storage, config)
                sweep_if_due(redis, Intake(config, resources.store, resources.storage))
                last = time.monotonic()
        except (EarthSynthError, RedisError) as error:
            log.warning("tending failed, tried again", error=str(error))
        time.sleep(config.heartbeat_seconds)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor, which stops us in order
    code = run_worker(sys.argv[1], Pulse.from_environment())
    logging.shutdown()
    os._exit(code)  # torch's and diffusers' modules take seconds to be torn down, for nothing
