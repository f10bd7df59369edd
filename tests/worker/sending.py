"""A sender in this process, and jobs that move without a worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis as AsyncRedis

from tests.worker.records import make_job
from worker.delivery_queue import DeliveryQueue
from worker.jobs import Job, JobStatus, now
from worker.name_lookup import NameLookup
from worker.results import end, store_request
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.webhook_endpoints import register
from worker.webhook_rules import rules_of
from worker.webhook_sender import WebhookSender
from worker.webhook_sending import courier_of
from worker.webhook_specs import ALL_EVENTS, JobWebhook

OPEN = {
    "webhook_allow_http": True,
    "webhook_allow_private": True,
    "webhook_ports": "any",
    "webhook_retry_seconds": ",".join(["0.01"] * 9),
    "webhook_lease_seconds": 1,
}


def open_settings(settings: Settings, **changes: Any) -> Settings:
    """Settings with which receivers on loopback may be called, and are soon called again."""
    return Settings(**(settings.model_dump() | OPEN | changes))


def queue_of(settings: Settings, redis: AsyncRedis) -> DeliveryQueue:
    return DeliveryQueue(
        redis,
        lease_seconds=settings.webhook_lease_seconds,
        host_limit=settings.webhook_host_concurrency,
        tenant_limit=settings.webhook_tenant_concurrency,
    )


@contextmanager
def sender(settings: Settings, storage: Storage) -> Iterator[None]:
    """A sender that works while the block runs."""
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def work() -> None:
        stopping = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stopping))
        ready.set()
        redis = AsyncRedis.from_url(settings.redis_url.get_secret_value())
        courier = courier_of(settings, rules_of(settings), NameLookup())
        await WebhookSender(settings, queue_of(settings, redis), storage, courier).run(stopping)
        await redis.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop, stopping = loops[0]
        loop.call_soon_threadsafe(stopping.set)
        thread.join()


def accepted(store: Store, storage: Storage, *urls: str, tenant: str = "local", **changes: Any) -> Job:
    """A queued job whose events go to these URLs."""
    told = [register(storage, tenant, url)[0] for url in urls]
    webhooks = tuple(JobWebhook(endpoint_id=one.id, url=one.url, events=ALL_EVENTS) for one in told)
    job = make_job(tenant=tenant, webhooks=webhooks, **changes)
    store_request(storage, job)
    store.create(job)
    return job


def started(store: Store, job: Job) -> Job:
    """The job, which a worker has begun."""
    begun = store.update(job.id, lambda known: known.advance(JobStatus.RUNNING, started_at=now()))
    assert begun is not None
    return begun


def finished(store: Store, storage: Storage, job: Job, status: JobStatus = JobStatus.SUCCEEDED) -> Job:
    return end(store, storage, started(store, job), status)
