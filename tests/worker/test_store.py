"""Records in a real Redis: compare-and-set, listing, the registry of workers."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

from models.errors import Unavailable
from tests.worker.records import make_job
from worker.job_lists import list_jobs
from worker.jobs import Job, JobKind, JobStatus, Phase, new_job_id, now
from worker.redis_client import connect
from worker.redis_keys import progress_key
from worker.settings import Settings
from worker.store import Store
from worker.worker_list import WorkerEntry, announce, live_workers


def test_a_record_round_trips(store: Store) -> None:
    job = make_job(warnings=("ü",), metadata={"a": "b"})
    assert store.create(job)
    assert not store.create(job)
    assert store.load(job.id) == job
    assert store.load(new_job_id()) is None


def test_concurrent_updates_all_count(store: Store) -> None:
    job = make_job()
    store.create(job)

    def add(_: int) -> None:
        store.update(job.id, lambda j: j.model_copy(update={"warnings": (*j.warnings, "x")}))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(40)))
    stored = store.load(job.id)
    assert stored is not None
    assert (len(stored.warnings), stored.revision) == (40, 40)


def test_an_unchanged_record_is_not_written(store: Store) -> None:
    job = make_job()
    store.create(job)
    assert store.update(job.id, lambda j: j) == job
    assert store.update(new_job_id(), lambda j: j) is None


def test_open_jobs_are_those_that_have_not_ended(store: Store) -> None:
    first, second = make_job(), make_job()
    store.create(first)
    store.create(second)
    assert set(store.open_jobs()) == {first.id, second.id}
    store.update(first.id, lambda j: j.advance(JobStatus.CANCELED))
    assert store.open_jobs() == [second.id]


def test_pages_are_newest_first_and_a_tenants_own(store: Store) -> None:
    jobs = [make_job(id=new_job_id(now() + timedelta(seconds=n))) for n in range(5)]
    for job in (*jobs, make_job(tenant="other")):
        store.create(job)
    newest_first = [job.id for job in reversed(jobs)]
    page, last = list_jobs(store, "local", limit=3)
    assert [job.id for job in page] == newest_first[:3]
    assert last == newest_first[2]
    page, last = list_jobs(store, "local", limit=3, before=last)
    assert [job.id for job in page] == newest_first[3:]
    assert last is None


def test_pages_of_some_jobs(store: Store) -> None:
    kinds = [JobKind.GENERATION, JobKind.DATASET]
    jobs = [
        make_job(
            id=new_job_id(now() + timedelta(seconds=n)),
            kind=kinds[n % 2],
            custom_id="mine" if n % 3 == 0 else None,
        )
        for n in range(12)
    ]
    for job in jobs:
        store.create(job)
    store.update(jobs[2].id, lambda j: j.advance(JobStatus.CANCELED))

    def found(**filters: Any) -> list[int]:
        places, before = [], None
        while True:
            page, before = list_jobs(store, "local", limit=2, before=before, **filters)
            places += [jobs.index(next(job for job in jobs if job.id == one.id)) for one in page]
            if before is None:
                return places

    assert found(kind=JobKind.DATASET) == [11, 9, 7, 5, 3, 1]
    assert found(status=JobStatus.CANCELED) == [2]
    assert found(custom_id="mine") == [9, 6, 3, 0]
    assert found(custom_id="mine", kind=JobKind.GENERATION) == [6, 0]
    assert found(custom_id="other") == []


def test_a_removed_job_stays_away(store: Store) -> None:
    job = make_job(custom_id="mine")
    store.create(job)
    store.remove(job)
    assert store.load(job.id) is None
    assert not store.create(job)  # a worker that still had it
    assert store.update(job.id, lambda j: j.advance(JobStatus.RUNNING)) is None
    assert (
        list_jobs(store, "local", limit=9)
        == list_jobs(store, "local", limit=9, custom_id="mine")
        == ([], None)
    )
    assert store.open_jobs() == []


def test_progress_is_merged_until_the_end(store: Store, redis: Redis) -> None:
    job = make_job()
    store.create(job)
    report = {
        "progress": {"total": 2, "step": 3, "steps": 8},
        "made": {"accepted": 1, "generated": 2},
        "phase": "synthesis",
        "started_at": "2026-11-23T20:00:00Z",
    }
    redis.hset(progress_key(job.id), job.id, json.dumps(report))
    seen = store.load(job.id)
    assert seen is not None
    assert (seen.progress.done, seen.progress.step, seen.phase) == (1, 3, Phase.SYNTHESIS)
    assert (seen.counts.accepted, seen.counts.pending, seen.counts.rejected) == (1, 1, 1)
    store.update(job.id, _ended)
    ended = store.load(job.id)
    assert ended is not None
    assert ended.progress.done == 2


def _ended(job: Job) -> Job:
    progress = job.progress.model_copy(update={"done": 2})
    return job.advance(JobStatus.RUNNING).advance(JobStatus.SUCCEEDED, progress=progress)


def test_silent_workers_are_forgotten(store: Store) -> None:
    entry = WorkerEntry(name="w", host="h", pid=1, status="ready", started_at=now(), seen_at=now())
    announce(store.redis, entry, seconds=0.3)
    assert live_workers(store.redis) == [entry]
    time.sleep(0.4)
    assert live_workers(store.redis) == []


def test_an_absent_redis_is_unavailable_within_two_seconds(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:1/0")})
    began = time.monotonic()
    with pytest.raises(Unavailable):
        Store(connect(nowhere)).load(new_job_id())
    assert time.monotonic() - began < 2


def test_an_evicting_redis_is_refused(store: Store, redis: Redis) -> None:
    store.ping()
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(Unavailable) as caught:
            store.ping()
        assert caught.value.code == "redis_evicts"
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
