"""Queue and leases on a real Redis: no entry lost, none run twice at once, nothing foreign executed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from rq import Queue

from tests.worker.records import make_job
from worker import queue
from worker.jobs import Job, JobStatus
from worker.lease import Canceled, Lease, LeaseLost, give_back
from worker.lease_worker import LeaseQueue, LeaseWorker
from worker.queue import QUEUE_NAME, AllowListJob, enqueue
from worker.redis_client import connect
from worker.redis_keys import cancel_key
from worker.settings import Settings
from worker.store import Store
from worker.turns import LEASES


@pytest.fixture
def queued(store: Store, redis: Redis) -> Job:
    job = make_job()
    store.create(job)
    assert enqueue(redis, job)
    return job


def take(redis: Redis, owner: str, seconds: float = 10.0, *, queue_name: str = QUEUE_NAME) -> Lease | None:
    """Takes the next entry as a worker of that name would."""
    LeaseQueue.owner, LeaseQueue.lease_seconds = owner, seconds
    taken: Any = LeaseQueue.dequeue_any(
        [LeaseQueue(queue_name, connection=redis)], None, redis, serializer="json"
    )
    return None if taken is None else Lease(redis, taken[0].id, taken[0].lease_token, seconds)


def test_a_hundred_equal_calls_make_one_entry(store: Store, redis: Redis) -> None:
    job = make_job()
    store.create(job)
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: enqueue(redis, job), range(100)))
    assert made.count(True) == 1
    assert queue.depth(redis) == 1
    assert queue.position(redis, job.id) == 0


def test_an_entry_is_taken_by_one_worker(queued: Job, redis: Redis) -> None:
    with ThreadPoolExecutor(8) as threads:
        leases = list(threads.map(lambda n: take(redis, f"w{n}"), range(8)))
    assert sum(lease is not None for lease in leases) == 1


def test_a_held_lease_is_not_given_back(queued: Job, redis: Redis) -> None:
    assert take(redis, "w1") is not None
    assert give_back(redis, max_attempts=3) == []
    assert give_back(redis, owner="somebody else", max_attempts=3) == []


def test_a_silent_workers_entry_is_taken_by_another_with_a_larger_token(queued: Job, redis: Redis) -> None:
    first = take(redis, "w1", seconds=0.2)
    time.sleep(0.3)
    assert give_back(redis, max_attempts=3) == [(queued.id, "requeued")]
    second = take(redis, "w2")
    assert first is not None
    assert second is not None
    assert (first.token, second.token) == (1, 2)
    first.renew()
    with pytest.raises(LeaseLost):
        first.check()
    second.renew()
    second.check()


def test_a_dead_workers_entries_come_back_at_once(queued: Job, redis: Redis) -> None:
    take(redis, "dead", seconds=1000)
    assert give_back(redis, owner="dead", max_attempts=3) == [(queued.id, "requeued")]
    assert queue.position(redis, queued.id) == 0


def test_the_last_attempt_is_not_repeated(queued: Job, redis: Redis) -> None:
    for _ in range(2):
        take(redis, "dead")
        assert give_back(redis, owner="dead", max_attempts=3) == [(queued.id, "requeued")]
    take(redis, "dead")
    assert give_back(redis, owner="dead", max_attempts=3) == [(queued.id, "exhausted")]
    assert queue.depth(redis) == 0


def test_one_caller_gives_back(queued: Job, redis: Redis) -> None:
    take(redis, "dead")
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda _: give_back(redis, owner="dead", max_attempts=3), range(8)))
    assert sum(len(found) for found in outcomes) == 1
    assert queue.depth(redis) == 1


def test_an_ended_job_is_not_taken(queued: Job, redis: Redis, store: Store) -> None:
    store.update(queued.id, lambda job: job.advance(JobStatus.CANCELED))
    assert take(redis, "w1") is None


def test_cancellation_reaches_the_worker(queued: Job, redis: Redis) -> None:
    lease = take(redis, "w1")
    assert lease is not None
    redis.set(cancel_key(queued.id), "1")
    lease.renew('{"progress": {}}')
    with pytest.raises(Canceled):
        lease.check()


def test_a_waiting_entry_can_be_withdrawn_a_leased_one_not(queued: Job, redis: Redis) -> None:
    assert queue.withdraw(redis, queued.id)
    assert not queue.withdraw(redis, queued.id)
    assert enqueue(redis, queued)
    take(redis, "w1")
    assert not queue.withdraw(redis, queued.id)


def test_an_absent_redis_keeps_the_work(queued: Job, redis: Redis, settings: Settings) -> None:
    lease = take(redis, "w1")
    assert lease is not None
    url = type(settings.redis_url)("redis://127.0.0.1:1/0")
    cut_off = Lease(
        connect(settings.model_copy(update={"redis_url": url})), lease.entry_id, lease.token, lease.seconds
    )
    cut_off.renew()
    cut_off.check()


def test_a_function_by_import_path_is_not_run(redis: Redis, tmp_path: Any, store: Store) -> None:
    canary = tmp_path / "canary"
    job = make_job()
    store.create(job)
    rq_queue = Queue(QUEUE_NAME, connection=redis, serializer="json")
    rq_queue.enqueue_call("os.mkdir", args=(str(canary),), job_id=job.id, timeout=-1)
    worker = LeaseWorker([QUEUE_NAME], name="w1", connection=redis, beat=redis)
    worker.work(burst=True, logging_level="CRITICAL")
    assert not canary.exists()


def test_a_worker_runs_the_table_and_releases_its_lease(queued: Job, redis: Redis) -> None:
    ran: list[str] = []
    AllowListJob.tasks = {"worker.tasks.generate": ran.append}
    worker = LeaseWorker([QUEUE_NAME], name="w1", connection=redis, beat=redis)
    worker.work(burst=True, logging_level="CRITICAL")
    assert ran == [queued.id]
    assert redis.zcard(LEASES) == 0


def test_a_worker_has_one_queue(redis: Redis) -> None:
    """On two queues RQ would fall back to BLPOP, which loses a job when killed between pop and start."""
    two = [LeaseQueue(name, connection=redis) for name in ("a", "b")]
    with pytest.raises(ValueError, match="too many values"):
        LeaseQueue.dequeue_any(two, None, redis, serializer="json")
