"""Job records and the worker registry in Redis: a cache of what S3 holds, with compare-and-set."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from models.errors import Unavailable
from worker.deliveries import deliveries_of
from worker.delivery_queue import PLAN, planned
from worker.events import APPEND, as_json, held_key, log_key, status_of
from worker.jobs import Counts, Job, JobKind, Made, Phase, Progress, now
from worker.settings import Settings

OPEN = "es:open"  # zset: job id → creation time of every job that has not ended
WORKERS = "es:workers"  # zset: worker name → when its entry is forgotten
_GONE_SECONDS = 172_800
TRAINERS = "es:trainers"  # the same for those that train or deliver: they take no shards

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


class WorkerEntry(BaseModel):
    """What a worker process says of itself. `status`: starting, ready, busy or failed (then `reason`)."""

    model_config = ConfigDict(frozen=True)

    name: str
    host: str
    pid: int
    status: str
    reason: str | None = None
    device: str | None = None
    model: dict[str, Any] | None = None
    job: str | None = None
    queue: str = "generation"
    started_at: datetime
    seen_at: datetime


class Store:
    """Records of jobs and workers. Every method raises Unavailable when Redis does not answer."""

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
            created = self._create(
                keys=[
                    record_key(job.id),
                    OPEN,
                    index_key(job.tenant),
                    log_key(job.id),
                    _gone_key(job.id),
                    index_key(job.tenant, job.custom_id),
                    usage_key(job),
                    open_key(job.tenant),
                ],
                args=[
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
                ],
            )
        return bool(created)

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
            pipe.set(_gone_key(job.id), "1", ex=_GONE_SECONDS)
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

    def announce(self, entry: WorkerEntry, *, seconds: float) -> None:
        """Shows the worker in the registry for that long."""
        with reachable():
            pipe = self.redis.pipeline()
            pipe.set(_worker_key(entry.name), entry.model_dump_json(), px=int(seconds * 1000))
            listed = WORKERS if entry.queue == "generation" else TRAINERS
            pipe.zadd(listed, {entry.name: entry.seen_at.timestamp() + seconds})
            pipe.execute()

    def withdraw(self, name: str) -> None:
        with reachable():
            pipe = self.redis.pipeline()
            pipe.delete(_worker_key(name))
            pipe.zrem(WORKERS, name)
            pipe.zrem(TRAINERS, name)
            pipe.execute()

    def workers(self) -> list[WorkerEntry]:
        """Every worker whose entry has not run out, those that train last."""
        with reachable():
            generating: Any = self.redis.zrange(WORKERS, 0, -1)
            training: Any = self.redis.zrange(TRAINERS, 0, -1)
            names = [*generating, *training]
            if not names:
                return []
            found: Any = self.redis.mget([_worker_key(name.decode()) for name in names])
            gone = [name for name, entry in zip(names, found, strict=True) if entry is None]
            if gone:
                self.redis.zrem(WORKERS, *gone)
                self.redis.zrem(TRAINERS, *gone)
        return [WorkerEntry.model_validate_json(entry) for entry in found if entry is not None]


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


def usage_of(job: Job) -> list[str | float]:
    """Names and amounts that an ended job adds to its tenant's usage of the day."""
    if not job.ended or job.finished_at is None:
        return []
    seconds = (job.finished_at - job.started_at).total_seconds() if job.started_at else 0.0
    found: list[str | float] = [f"jobs:{job.kind}:{job.status}", 1, f"seconds:{job.kind}", seconds]
    if job.kind in {JobKind.GENERATION, JobKind.DATASET}:
        found += ["images_generated", job.counts.generated, "images_accepted", job.counts.accepted]
    return found


def _is_news(known: Job, changed: Job) -> bool:
    """Whether followers of the job must hear of the change."""
    return (known.status, known.phase, known.attempts) != (changed.status, changed.phase, changed.attempts)


def record_key(job_id: str) -> str:
    return f"es:job:{job_id}"


def progress_key(job_id: str) -> str:
    return f"es:progress:{job_id}"


def round_key(job_id: str) -> str:
    """Hash: the round that is under way, how far it is, and what its finished shards made."""
    return f"es:round:{job_id}"


def cancel_key(job_id: str) -> str:
    return f"es:cancel:{job_id}"


def shards_key(job_id: str) -> str:
    """Bitmap: which shards of the round are done."""
    return f"es:shards:{job_id}"


def index_key(tenant: str, custom_id: str | None = None) -> str:
    """The tenant's jobs by id, all of them or those with that custom id."""
    if custom_id is None:
        return f"es:jobs:{tenant}"
    return f"es:jobs:{tenant}:{hashlib.sha256(custom_id.encode()).hexdigest()}"


def usage_key(job: Job) -> str:
    """What the tenant's jobs that ended on the same day used."""
    return usage_day_key(job.tenant, (job.finished_at or job.created_at).date())


def usage_day_key(tenant: str, day: date) -> str:
    return f"es:usage:{tenant}:{day.isoformat()}"


def open_key(tenant: str) -> str:
    """Zset: job id → creation time of the tenant's jobs that have not ended (worker/admission.py)."""
    return f"es:open:{tenant}"


def _gone_key(job_id: str) -> str:
    return f"es:gone:{job_id}"


def _worker_key(name: str) -> str:
    return f"es:worker:{name}"


def connect(settings: Settings, *, patient: bool = False) -> Redis:
    """A client of Redis. The API fails within 2 s; a worker (`patient`) rides out a restart of two minutes."""
    retry = Retry(ExponentialBackoff(cap=2, base=0.1), 60) if patient else Retry(ExponentialBackoff(), 0)
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_connect_timeout=1,
        socket_timeout=30 if patient else 2,
        retry=retry,
        health_check_interval=30,
    )


class reachable:  # noqa: N801  (reads as a clause: "with reachable()")
    """Turns Redis' connection errors into Unavailable."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, RedisError):
            raise Unavailable("The job store did not answer. Try again.", code="store_unavailable") from error
