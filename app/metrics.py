"""What Prometheus reads: this process's requests and refusals, and what waits and works, from Redis.

Of several API processes on one port each answers some scrapes: what they count lies in files that all of them read
(prometheus_client's multiprocess mode), so that every answer has the sum.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis import Redis

from app.request_counts import COUNTED
from models.errors import Unavailable
from worker.delivery_queue import backlog
from worker.queue import QUEUE_NAME, TRAINING_QUEUE, oldest_age_seconds
from worker.queue import depth as queue_depth
from worker.redis_client import reachable
from worker.storage import Storage
from worker.worker_list import live_workers

CONTENT_TYPE = CONTENT_TYPE_LATEST
_QUEUES = (QUEUE_NAME, TRAINING_QUEUE)


def exposition(redis: Redis, storage: Storage) -> bytes:
    """Everything in Prometheus' text format. Blocks for some round trips; a part that is down is said to be."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(COUNTED)
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
