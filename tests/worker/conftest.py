"""A leased job, what a worker process has, and RQ's classes left as they were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests.worker.datasets import Loaded
from tests.worker.records import make_job
from tests.worker.test_lease import take
from worker.lease import Lease
from worker.lease_worker import LeaseQueue
from worker.queue import AllowListJob, enqueue
from worker.results import store_request
from worker.run import Resources
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store


@pytest.fixture(autouse=True)
def _class_state() -> Iterator[None]:
    before = (LeaseQueue.owner, LeaseQueue.lease_seconds, AllowListJob.tasks)
    yield
    LeaseQueue.owner, LeaseQueue.lease_seconds, AllowListJob.tasks = before


@pytest.fixture
def resources(settings: Settings, store: Store, storage: Storage) -> Resources:
    stand_ins: Any = (
        {},
        Loaded(),
    )  # the registry and the device: the runtime asks only which weights are resident
    return Resources(settings, "w1", store, storage, *stand_ins, lambda: None)


@pytest.fixture
def lease(store: Store, storage: Storage, redis: Redis) -> Lease:
    job = make_job()
    store_request(storage, job)
    store.create(job)
    enqueue(redis, job)
    found = take(redis, "w1")
    assert found is not None
    return found
