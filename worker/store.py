"""Job records in Redis: a cache of what S3 holds, with compare-and-set."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis import Redis

from models.errors import Unavailable
from worker.deliveries import deliveries_of
from worker.delivery_queue import PLAN, planned
from worker.events import APPEND, as_json, held_key, log_key, status_of
from worker.jobs import Counts, Job, JobKind, Made, Phase, Progress, now
from worker.redis_client import ScriptCall, call_all, reachable
from worker.redis_keys import (
    cancel_key,
    gone_key,
    index_key,
    open_key,
    progress_key,
    record_key,
    round_key,
    shards_key,
)
from worker.usage import usage_key, usage_of

OPEN = "es:open"  # zset: job id → creation time of every job that has not ended
_GONE_SECONDS = 172_800

_COUNT = """
local function count(usage, args, first)
  for i = first, #args, 2 do redis.call('HINCRBYFLOAT', usage, args[i], args[i + 1]) end
  redis.call('EXPIRE', usage, 34560000)
end
"""
_CREATE = (
    APPEND
    + PLAN
    + _COUNT
    + """
-- KEYS: record, open, index, log, gone, index of the custom id, usage, open of the tenant
-- ARGV: id, doc, revision, status, ended, created, event, kind, has a custom id, deliveries,
-- then names and amounts of usage
if redis.call('EXISTS', KEYS[1]) == 1 or redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
plan(ARGV[10])
redis.call('HSET', KEYS[1], 'doc', ARGV[2], 'revision', ARGV[3], 'status', ARGV[4], 'kind', ARGV[8])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
if ARGV[9] == '1' then redis.call('ZADD', KEYS[6], 0, ARGV[1]) end
if ARGV[5] == '1' then count(KEYS[7], ARGV, 11) end
if ARGV[5] == '0' then
  redis.call('ZADD', KEYS[2], ARGV[6], ARGV[1]); redis.call('ZADD', KEYS[8], ARGV[6], ARGV[1])
end
append(KEYS[4], ARGV[1], 'status', ARGV[7])
return 1
"""
)
_SWAP = (
    APPEND
    + PLAN
    + _COUNT
    + """
-- KEYS: record, open, log, held, round, reports, usage, open of the tenant
-- ARGV: id, doc, revision expected, revision new, status, ended, event or '', deliveries,
-- then names and amounts of usage
if redis.call('HGET', KEYS[1], 'revision') ~= ARGV[3] then return 0 end
plan(ARGV[8])
redis.call('HSET', KEYS[1], 'doc', ARGV[2], 'revision', ARGV[4], 'status', ARGV[5])
if ARGV[6] == '1' then redis.call('ZREM', KEYS[8], ARGV[1]) end
if ARGV[6] == '1' and redis.call('ZREM', KEYS[2], ARGV[1]) == 1 then count(KEYS[7], ARGV, 9) end
if ARGV[7] ~= '' then
  release(KEYS[3], ARGV[1], KEYS[4], KEYS[5], KEYS[6])
  append(KEYS[3], ARGV[1], 'status', ARGV[7])
end
return 1
"""
)


class Store:
    """Records of jobs. Every method raises Unavailable when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._create = redis.register_script(_CREATE)
        self._swap = redis.register_script(_SWAP)

    def ping(self) -> None:
        """Raises Unavailable when Redis is away, or would evict our records."""
        with reachable():
            self.redis.ping()
            policy = self.redis.config_get("maxmemory-policy").get("maxmemory-policy")
        if policy not in (None, "noeviction"):
            raise Unavailable(
                f"Redis evicts keys (maxmemory-policy {policy}); set it to noeviction.", code="redis_evicts"
            )

    def create(self, job: Job) -> bool:
        """Stores a new record; False when the id is known already."""
        with reachable():
            (created,) = call_all(self.redis, self.creation(job))
        return bool(created)

    def creation(self, job: Job) -> ScriptCall:
        """What `create` calls; it answers 0 when the id is known already."""
        keys = [
            record_key(job.id),
            OPEN,
            index_key(job.tenant),
            log_key(job.id),
            gone_key(job.id),
            index_key(job.tenant, job.custom_id),
            usage_key(job),
            open_key(job.tenant),
        ]
        args = [
            job.id,
            job.model_dump_json(),
            job.revision,
            job.status.value,
            int(job.ended),
            job.created_at.timestamp(),
            as_json(status_of(job)),
            job.kind.value,
            int(job.custom_id is not None),
            planned(deliveries_of(None, job)),
            *usage_of(job),
        ]
        return ScriptCall(self._create, keys, args)

    def load(self, job_id: str) -> Job | None:
        """The record with its latest progress, or None when Redis does not know the id."""
        found = self.load_all([job_id])
        return found[0] if found else None

    def update(self, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """Applies `change` to the record, again when another writer came between; None when it is unknown."""
        while True:
            job = self.load(job_id)
            if job is None:
                return None
            changed = change(job)
            if changed is job:
                return job
            changed = changed.model_copy(update={"revision": job.revision + 1})
            with reachable():
                swapped = self._swap(
                    keys=[
                        record_key(job_id),
                        OPEN,
                        log_key(job_id),
                        held_key(job_id),
                        round_key(job_id),
                        progress_key(job_id),
                        usage_key(changed),
                        open_key(job.tenant),
                    ],
                    args=[
                        job_id,
                        changed.model_dump_json(),
                        job.revision,
                        changed.revision,
                        changed.status.value,
                        int(changed.ended),
                        as_json(status_of(changed)) if _is_news(job, changed) else "",
                        planned(deliveries_of(job, changed)),
                        *usage_of(changed),
                    ],
                )
            if swapped:
                return changed

    def remove(self, job: Job) -> None:
        """Forgets the job for good: a worker that still has it is told to stop, and cannot bring it back."""
        with reachable():
            pipe = self.redis.pipeline()
            pipe.set(gone_key(job.id), "1", ex=_GONE_SECONDS)
            pipe.set(cancel_key(job.id), "1", ex=_GONE_SECONDS)
            pipe.zrem(OPEN, job.id)
            pipe.zrem(open_key(job.tenant), job.id)
            pipe.zrem(index_key(job.tenant), job.id)
            pipe.zrem(index_key(job.tenant, job.custom_id), job.id)
            pipe.delete(
                record_key(job.id),
                progress_key(job.id),
                round_key(job.id),
                shards_key(job.id),
                log_key(job.id),
                held_key(job.id),
            )
            pipe.execute()

    def load_all(self, job_ids: Sequence[str]) -> list[Job]:
        """The records of those that are known, in that order."""
        with reachable():
            pipe = self.redis.pipeline(transaction=False)
            for job_id in job_ids:
                pipe.hget(record_key(job_id), "doc")
                pipe.hgetall(progress_key(job_id))
                pipe.hgetall(round_key(job_id))
            found = pipe.execute()
        return [
            merged(Job.model_validate_json(doc), [json.loads(report) for report in reports.values()], done)
            for doc, reports, done in zip(found[0::3], found[1::3], found[2::3], strict=True)
            if doc is not None
        ]

    def open_jobs(self) -> list[str]:
        with reachable():
            ids: Any = self.redis.zrange(OPEN, 0, -1)
        return [job_id.decode() for job_id in ids]


def merged(job: Job, reports: Sequence[Mapping[str, Any]], done: Mapping[bytes, bytes]) -> Job:
    """The record with what its finished shards made (`done`) and what running ones report; an ended job's own."""
    if job.ended or not (reports or done):
        return job
    made = [Made.model_validate(report["made"]) for report in reports]
    made.append(Made(**{name: int(done.get(name.encode(), 0)) for name in Made.model_fields}))
    base = Counts.model_validate_json(done[b"base"]) if b"base" in done else job.counts
    counts = functools.reduce(Counts.plus, made, base)
    settled = counts.requested - counts.pending
    progress = job.progress
    if reports:
        latest = max(reports, key=lambda report: str(report["started_at"]))
        progress = Progress.model_validate(latest["progress"])
    if job.kind not in {JobKind.EXPORT, JobKind.TRAINING}:
        progress = progress.model_copy(update={"done": settled, "total": counts.requested})
    if done and settled and job.started_at:
        each = (now() - job.started_at).total_seconds() / settled
        progress = progress.model_copy(update={"eta_seconds": round(each * counts.pending, 1)})
    changes: dict[str, Any] = {"progress": progress, "counts": counts}
    if reports:
        changes["phase"] = Phase(latest["phase"])
    return job.model_copy(update=changes)


def _is_news(known: Job, changed: Job) -> bool:
    """Whether followers of the job must hear of the change."""
    return (known.status, known.phase, known.attempts) != (changed.status, changed.phase, changed.attempts)
