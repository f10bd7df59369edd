"""What Prometheus reads: this process's requests and refusals, and what waits and works, from Redis.

Of several API processes on one port each answers some scrapes: what they count lies in files that all of them read
(prometheus_client's multiprocess mode), so that every answer has the sum.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis import Redis
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import Unavailable
from worker.delivery_queue import backlog
from worker.queue import QUEUE_NAME, TRAINING_QUEUE, oldest_age_seconds
from worker.queue import depth as queue_depth
from worker.redis_client import reachable
from worker.storage import Storage
from worker.worker_list import live_workers

CONTENT_TYPE = CONTENT_TYPE_LATEST
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_QUEUES = (QUEUE_NAME, TRAINING_QUEUE)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads
_counted = CollectorRegistry()
_requests = Counter(
    "earthsynth_http_requests",
    "Requests that were answered, by the route's template; route is empty where no route was reached.",
    ["method", "route", "status"],
    registry=_counted,
)
_seconds = Histogram(
    "earthsynth_http_response_seconds",
    "From a request's head to its answer's head, of requests that did not ask to wait for a job.",
    ["method", "route"],
    buckets=_SECONDS,
    registry=_counted,
)
_refusals = Counter(
    "earthsynth_http_refusals",
    "Problem documents that were sent, by their code (docs/errors.md).",
    ["code"],
    registry=_counted,
)


def count_refusal(code: str) -> None:
    """One more problem document was sent."""
    _refusals.labels(code).inc()


class CountedRequests:
    """Middleware, outside all other, that counts answers and how long they took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def send_counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                _count(scope, int(message["status"]), time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_counting)


def _count(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = getattr(scope.get("route"), "path", "")
    _requests.labels(method, route, str(status)).inc()
    if not _may_wait(scope):
        _seconds.labels(method, route).observe(seconds)


def _may_wait(scope: Scope) -> bool:
    return b"wait=" in scope["query_string"] or any(name == b"prefer" for name, _ in scope["headers"])


def exposition(redis: Redis, storage: Storage) -> bytes:
    """Everything in Prometheus' text format. Blocks for some round trips; a part that is down is said to be."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(_counted)
    registry.register(_Fleet(redis, storage))
    return generate_latest(registry)


class _Fleet(Collector):
    """What every API process would say the same of; absent while Redis is down."""

    def __init__(self, redis: Redis, storage: Storage) -> None:
        self._redis, self._storage = redis, storage

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily(
            "earthsynth_part_up", "Whether the part answers this API process.", labels=["part"]
        )
        fleet: list[Metric] = []
        try:
            fleet = [self._waiting(), self._oldest(), self._workers(), *self._deliveries()]
            up.add_metric(["redis"], 1)
        except Unavailable:
            up.add_metric(["redis"], 0)
        try:
            self._storage.ping()
            up.add_metric(["storage"], 1)
        except Unavailable:
            up.add_metric(["storage"], 0)
        return [up, *fleet]

    def _waiting(self) -> Metric:
        found = GaugeMetricFamily(
            "earthsynth_queue_entries",
            "Entries that wait for a worker: a generation, a training, a shard of a data set.",
            labels=["queue"],
        )
        for queue in _QUEUES:
            found.add_metric([queue], queue_depth(self._redis, queue))
        return found

    def _oldest(self) -> Metric:
        found = GaugeMetricFamily(
            "earthsynth_queue_oldest_seconds", "How long the oldest of them has waited.", labels=["queue"]
        )
        for queue in _QUEUES:
            found.add_metric([queue], oldest_age_seconds(self._redis, queue))
        return found

    def _workers(self) -> Metric:
        found = GaugeMetricFamily(
            "earthsynth_workers",
            "Worker processes that are alive, as GET /v1/workers.",
            labels=["queue", "status"],
        )
        counts: dict[tuple[str, str], int] = {}
        for one in live_workers(self._redis):
            counts[one.queue, one.status] = counts.get((one.queue, one.status), 0) + 1
        for labels, count in sorted(counts.items()):
            found.add_metric(labels, count)
        return found

    def _deliveries(self) -> Iterable[Metric]:
        with reachable():
            count, late_seconds = backlog(self._redis)
        yield GaugeMetricFamily(
            "earthsynth_webhook_deliveries",
            "Deliveries that wait, for a retry too, or are under way.",
            value=count,
        )
        yield GaugeMetricFamily(
            "earthsynth_webhook_late_seconds",
            "For how long the first of them has been due.",
            value=late_seconds,
        )
