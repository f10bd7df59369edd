"""A worker that dies before any one of its calls to Redis or S3, with Redis kept or lost: the very same data set.

Nothing is in a worker's memory alone, so dying between two calls is the same as dying before the second one. The
samples cost nothing to make, all around them is real. `EARTHSYNTH_CHAOS=long` takes every call, otherwise every
seventh is taken.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis

from models.rfilter.rules import Policy
from tests.chaos.checker import Delivered, check_dataset
from tests.worker.datasets import BAD, GOOD, Steps
from worker.jobs import Job
from worker.lease_worker import LeaseQueue
from worker.reconcile import give_back_lost, reconcile
from worker.redis_client import connect
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store

ROAD, TREE = 4, 5
EVERY = 1 if os.environ.get("EARTHSYNTH_CHAOS") == "long" else 7
PLAIN: dict[str, Any] = {"samples_per_mask": 2, "filter": {"policy": Policy.BALANCED, "max_tries": 2}}
GOAL: dict[str, Any] = {"goal": {"accepted_per_category": {"road": 3}}, "filter": {"max_tries": 1}}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Fuse:
    """Lets `calls` through; every later one ends the process, until it is mended."""

    calls: int | None = None
    made: int = 0

    def burn(self) -> None:
        self.made += 1
        if self.calls is not None and self.made > self.calls:
            raise SystemExit(1)


class FusedStorage(Storage):
    """Storage whose process may die before any request."""

    def __init__(self, settings: Settings, fuse: Fuse) -> None:
        super().__init__(settings)
        self._client.meta.events.register("before-send.s3", lambda **_: fuse.burn())


def fused_redis(settings: Settings, fuse: Fuse) -> Redis:
    """A client whose process may die before any command, script or pipeline."""
    client = connect(settings)
    get_connection = client.connection_pool.get_connection

    def burnt(*arguments: Any, **options: Any) -> Any:
        fuse.burn()
        return get_connection(*arguments, **options)

    client.connection_pool.get_connection = burnt
    return client


@pytest.fixture(autouse=True)
def _class_state() -> Iterator[None]:
    before = (LeaseQueue.owner, LeaseQueue.lease_seconds)
    yield
    LeaseQueue.owner, LeaseQueue.lease_seconds = before


@pytest.fixture
def fuse() -> Fuse:
    return Fuse()


@dataclass(frozen=True)
class Stage:
    """A worker that may die, and beside it the test's own clients, which stand for the other workers."""

    mortal: Steps
    redis: Redis
    store: Store
    storage: Storage
    settings: Settings

    def submit(self, asked: dict[str, Any]) -> Job:
        return self.mortal.submit({ROAD}, {TREE, ROAD}, **asked)

    def run_to_its_end(self, job: Job) -> Delivered:
        """Does every step, with counts that add up in between."""
        for _ in range(100):
            self._check_counts(job)
            if self.mortal.one() is None:
                found = self.store.load(job.id)
                if found is not None and found.ended:
                    return check_dataset(self.storage, found.model_dump(mode="json"))
                assert reconcile(self.redis, self.store, self.storage, self.settings), "nobody knows the job"
        raise AssertionError("the job goes on for ever")

    def replace_worker(self, *, redis_is_lost: bool) -> None:
        if redis_is_lost:
            self.redis.flushall()
            reconcile(self.redis, self.store, self.storage, self.settings)
        else:
            give_back_lost(self.redis, self.store, self.storage, self.settings, owner="w1")

    def forget(self, job: Job) -> None:
        self.redis.flushall()
        self.storage.delete(f"local/jobs/{job.id}/")

    def _check_counts(self, job: Job) -> None:
        found = self.store.load(job.id)
        assert found is not None
        counts = found.counts
        settled = counts.accepted + counts.exhausted + counts.failed
        assert counts.requested == settled + counts.pending, counts
        assert counts.generated == counts.accepted + counts.rejected, counts
        assert min(counts.model_dump().values()) >= 0, counts


@pytest.fixture
def stage(settings: Settings, redis: Redis, store: Store, storage: Storage, fuse: Fuse) -> Iterator[Stage]:
    """The first try of every fourth sample fails, and two samples of different masks come out alike."""
    client = fused_redis(settings, fuse)
    mortal = Steps(settings, client, Store(client), FusedStorage(settings, fuse))
    mortal.entropy = lambda index, number: BAD if index % 4 == 1 and number == 0 else GOOD

    def hash_of(index: int, number: int) -> str:
        alike = number == 0 and index in {0, 2}
        return "00000000ffffffff" if alike else hashlib.sha256(f"{index} {number}".encode()).hexdigest()[:16]

    mortal.hash_of = hash_of
    yield Stage(mortal, redis, store, storage, settings)
    client.close()


@pytest.mark.parametrize("redis_is_lost", [False, True], ids=["redis kept", "redis lost"])
@pytest.mark.parametrize("asked", [PLAIN, GOAL], ids=["samples per mask", "goal"])
def test_a_worker_may_die_before_any_call(
    stage: Stage, fuse: Fuse, asked: dict[str, Any], redis_is_lost: bool
) -> None:
    job = stage.submit(asked)
    fuse.made = 0
    undisturbed = stage.run_to_its_end(job)
    assert undisturbed.rounds >= 2, "a later round is part of what must survive"
    stage.forget(job)
    calls, deaths, wrong = fuse.made, 0, {}
    for point in range(0, calls, EVERY):
        job = stage.submit(asked)
        fuse.made, fuse.calls = 0, point
        try:
            stage.run_to_its_end(job)
        except SystemExit:
            deaths += 1
        fuse.calls = None
        try:
            stage.replace_worker(redis_is_lost=redis_is_lost)
            found = stage.run_to_its_end(job)
        except AssertionError as error:
            wrong[point] = str(error)[:500]
        else:
            if found != undisturbed:
                wrong[point] = str(found.difference(undisturbed))
        stage.forget(job)
    assert not wrong, f"after so many calls: {wrong}"
    assert deaths >= 0.9 * calls / EVERY, "some calls are made once a process"
