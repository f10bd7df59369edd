"""Brings back what was lost between S3 and Redis: jobs that S3 promised and no queue knows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from redis import Redis

from worker.jobs import earliest_job_id, now
from worker.layout import JOB_ID, jobs_prefix
from worker.lease import give_back
from worker.logs import get_logger
from worker.queue import LEASES, enqueue, entry_key, queue_key
from worker.results import adopt, give_up, read_request, read_result
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store, reachable

log = get_logger(__name__)

_SCANNED = "es:scanned"  # when storage was last listed; absent: this Redis has never seen the jobs S3 holds
_OVERLAP = timedelta(minutes=2)  # for requests in flight at the last listing, and for clocks that differ

_STRANDED = """
-- KEYS: queue, entry, leases ; ARGV: entry id -> 1 when the entry exists but waits nowhere (it is queued again)
if redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
if redis.call('ZSCORE', KEYS[3], ARGV[1]) or redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[1])
return 1
"""


def give_back_lost(redis: Redis, store: Store, storage: Storage, settings: Settings, owner: str = "") -> None:
    """Requeues what dead workers held (all that `owner` held, if given), and ends what has no attempt left."""
    with reachable():
        outcomes = give_back(redis, owner=owner, max_attempts=settings.max_attempts)
    for entry_id, outcome in outcomes:
        log.warning("lease of a dead worker", entry=entry_id, outcome=outcome)
        if outcome == "exhausted":
            give_up(store, storage, entry_id.partition("-")[0], settings.max_attempts)


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
        prefix = jobs_prefix(tenant)
        first = "" if since is None else prefix + earliest_job_id(since)
        for job_id in storage.folders(prefix, start_after=first):
            if not JOB_ID.fullmatch(job_id) or store.load(job_id) is not None:
                continue
            job = read_request(storage, tenant, job_id)
            if job is None:
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
    attempts = len(job.attempts)
    if attempts >= settings.max_attempts and not _waits(redis, job_id):
        give_up(store, storage, job_id, attempts)
        return 0
    with reachable():
        keys = [queue_key(), entry_key(job_id), LEASES]
        outcome: Any = redis.register_script(_STRANDED)(keys=keys, args=[job_id])
    if outcome == -1:
        return int(enqueue(redis, job))
    if outcome == 1:
        log.warning("stranded job queued again", job=job_id)
    return int(outcome)


def _waits(redis: Redis, job_id: str) -> bool:
    """Whether the entry is in the queue or leased."""
    with reachable():
        leased: Any = redis.zscore(LEASES, job_id)
        return leased is not None or redis.lpos(queue_key(), job_id) is not None
