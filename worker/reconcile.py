"""Brings back what was lost between S3 and Redis: jobs that S3 promised and no queue knows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from redis import Redis

from worker.jobs import Job, JobKind, JobStatus, earliest_job_id, now
from worker.layout import JOB_ID, TENANT, jobs_prefix
from worker.lease import give_back, starts_that_count
from worker.logs import get_logger
from worker.queue import (
    SHARD_TASK,
    TASKS,
    cancel_entry,
    end_entry,
    enqueue,
    job_of,
    position,
    queue_again,
    queue_of,
    shard_entry,
    shard_of,
)
from worker.redis_client import reachable
from worker.redis_keys import cancel_key
from worker.results import adopt, give_up, read_request, read_result
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.tombstones import read_tombstone
from worker.turns import LEASES
from worker.window import advance, give_up_shard, unfinished

log = get_logger(__name__)

_SCANNED = "es:scanned"  # when storage was last listed; absent: this Redis has never seen the jobs S3 holds
_OVERLAP = timedelta(minutes=2)  # for requests in flight at the last listing, and for clocks that differ


def give_back_lost(redis: Redis, store: Store, storage: Storage, settings: Settings, owner: str = "") -> None:
    """Requeues what dead workers held (all that `owner` held, if given), and ends what has no attempt left."""
    with reachable():
        outcomes = give_back(redis, owner=owner, max_attempts=settings.max_attempts)
    for entry_id, outcome in outcomes:
        log.warning("lease of a dead worker", entry=entry_id, outcome=outcome)
        if outcome == "exhausted" and shard_of(entry_id):
            give_up_shard(store, storage, entry_id, settings.max_attempts)
        elif outcome == "exhausted":
            give_up(store, storage, job_of(entry_id), settings.max_attempts)


def reconcile(redis: Redis, store: Store, storage: Storage, settings: Settings) -> int:
    """Requeues every open job that waits nowhere; returns how many. One process at a time does it."""
    with reachable():
        seconds = max(60, int(settings.reconcile_seconds))
        if not redis.set("es:reconciling", "1", nx=True, ex=seconds):
            return 0
    try:
        found = _restore(redis, store, storage)
        for job_id in store.open_jobs():
            found += _unstrand(redis, store, storage, settings, job_id)
    finally:
        with reachable():
            redis.delete("es:reconciling")
    return found


def _restore(redis: Redis, store: Store, storage: Storage) -> int:
    """Records and entries for requests in S3 that Redis does not know: those since the last listing, or all."""
    began = now()
    with reachable():
        scanned: Any = redis.get(_SCANNED)
    since = None if scanned is None else datetime.fromisoformat(scanned.decode()) - _OVERLAP
    restored = 0
    for tenant in storage.folders(""):
        if not TENANT.fullmatch(tenant):
            continue
        prefix = jobs_prefix(tenant)
        first = "" if since is None else prefix + earliest_job_id(since)
        for job_id in storage.folders(prefix, start_after=first):
            if not JOB_ID.fullmatch(job_id) or store.load(job_id) is not None:
                continue
            job = read_request(storage, tenant, job_id)
            if job is None or read_tombstone(storage, tenant, job_id) is not None:
                continue
            result = read_result(storage, tenant, job_id)
            if result is not None:
                adopt(store, result.job)
            elif store.create(job):
                enqueue(redis, job)
                restored += 1
                log.warning("job restored from storage", job=job_id)
    with reachable():
        redis.set(_SCANNED, began.isoformat())
    return restored


def _unstrand(redis: Redis, store: Store, storage: Storage, settings: Settings, job_id: str) -> int:
    job = store.load(job_id)
    if job is None or job.ended:
        return 0
    result = read_result(storage, job.tenant, job.id)
    if result is not None:  # its worker died between result.json and the record
        adopt(store, result.job)
        return 0
    if job.kind is JobKind.DATASET:
        return _unstrand_dataset(redis, job)
    attempts = len(job.attempts)
    is_exhausted = starts_that_count(redis, job_id, attempts) >= settings.max_attempts
    if is_exhausted and not _waits(redis, job):
        give_up(store, storage, job_id, attempts)
        return 0
    return _queue_again(redis, job, job_id, TASKS[job.kind])


def _unstrand_dataset(redis: Redis, job: Job) -> int:
    """Whatever step of the data set should be under way, and waits nowhere, is queued again."""
    with reachable():
        canceled: Any = redis.exists(cancel_key(job.id))
    if canceled and job.status is not JobStatus.QUEUED:
        return _queue_again(redis, job, cancel_entry(job.id), TASKS[job.kind])
    state = unfinished(redis, job.id)
    if state is None:  # not begun, or Redis was lost: the conductor finds out
        return _queue_again(redis, job, job.id, TASKS[job.kind])
    number, shards, complete = state
    if complete:
        return _queue_again(redis, job, end_entry(job.id, number), TASKS[job.kind])
    if not shards:  # the window is empty: whoever should have filled it died
        advance(redis, job, number)
        return 1
    return sum(_queue_again(redis, job, shard_entry(job.id, number, shard), SHARD_TASK) for shard in shards)


def _queue_again(redis: Redis, job: Job, entry_id: str, task: str) -> int:
    """Queues the entry if it neither waits nor is leased; returns 1 if so."""
    queued = queue_again(redis, job, entry_id, task)
    if queued:
        log.warning("stranded entry queued again", entry=entry_id)
    return int(queued)


def _waits(redis: Redis, job: Job) -> bool:
    """Whether the job's entry is in the queue or leased."""
    with reachable():
        leased: Any = redis.zscore(LEASES, job.id)
    return leased is not None or position(redis, job.id, queue_of(job.kind)) is not None
