"""The process that delivers webhooks: no device, no torch, one event loop.

Started by `worker.main`, never by hand.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from datetime import datetime

from redis.exceptions import RedisError

from models.errors import EarthSynthError
from worker.delivery_queue import DeliveryQueue
from worker.jobs import now
from worker.logs import configure_logs, get_logger
from worker.name_lookup import NameLookup
from worker.pulse import Pulse
from worker.reconcile import reconcile
from worker.redis_client import connect, connect_async
from worker.settings import Settings, settings
from worker.storage import Storage
from worker.store import Store
from worker.webhook_rules import rules_of
from worker.webhook_sender import WebhookSender
from worker.webhook_sending import courier_of
from worker.worker_list import WorkerEntry, announce, withdraw_worker

log = get_logger(__name__)

EXIT_CANNOT_START = 3  # the supervisor waits before it tries again


def run_sender(name: str, pulse: Pulse) -> int:
    """Delivers until told to stop; returns the exit code."""
    config = settings()
    configure_logs(config, process=name)
    storage, started = Storage(config), now()
    try:
        pulse.loading()
        storage.prepare()
        courier = courier_of(config, rules_of(config), NameLookup())
    except (EarthSynthError, OSError) as error:
        log.error("sender cannot start", detail=str(error))  # noqa: TRY400  (no traceback)
        return EXIT_CANNOT_START
    threading.Thread(target=_announce, args=(config, name, started), name="announce", daemon=True).start()
    threading.Thread(target=_tend, args=(config, storage), name="tend", daemon=True).start()

    async def deliver() -> None:
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        queue = DeliveryQueue(
            connect_async(config, patient=True),
            lease_seconds=config.webhook_lease_seconds,
            host_limit=config.webhook_host_concurrency,
            tenant_limit=config.webhook_tenant_concurrency,
        )
        log.info("sender ready", pid=os.getpid())
        await WebhookSender(config, queue, storage, courier).run(stopping, pulse.alive)

    asyncio.run(deliver())
    _withdraw(config, name)
    return 0


def _announce(config: Settings, name: str, started: datetime) -> None:
    """Shows the process in `GET /v1/workers` while it lives."""
    store = Store(connect(config))
    while True:
        entry = WorkerEntry(
            name=name,
            host=socket.gethostname(),
            pid=os.getpid(),
            status="ready",
            queue=config.queue,
            started_at=started,
            seen_at=now(),
        )
        try:
            announce(store.redis, entry, seconds=config.lease_seconds)
        except EarthSynthError as error:
            log.warning("sender not announced", detail=error.message)
        time.sleep(min(config.heartbeat_seconds, 1.0))


def _tend(config: Settings, storage: Storage) -> None:
    """Reconciles S3 with Redis, so that events of ended jobs are told although no other worker lives."""
    redis = connect(config, patient=True)
    while True:
        try:
            reconcile(redis, Store(redis), storage, config)
        except (EarthSynthError, RedisError) as error:
            log.warning("tending failed, tried again", error=str(error))
        time.sleep(config.reconcile_seconds)


def _withdraw(config: Settings, name: str) -> None:
    try:
        withdraw_worker(connect(config), name)
    except EarthSynthError as error:
        log.warning("sender not withdrawn", detail=error.message)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor, which stops us in order
    code = run_sender(sys.argv[1], Pulse.from_environment())
    logging.shutdown()
    os._exit(code)  # a name that is still being looked up must not keep the process
