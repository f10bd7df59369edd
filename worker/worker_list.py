"""Which worker processes there are: each says so now and then, and is forgotten when it does not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from redis import Redis

from worker.redis_client import reachable

WORKERS = "es:workers"  # zset: worker name → when its entry is forgotten
TRAINERS = "es:trainers"  # the same for those that train or deliver: they take no shards


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


def announce(redis: Redis, entry: WorkerEntry, *, seconds: float) -> None:
    """Shows the worker in the registry for that long."""
    with reachable():
        pipe = redis.pipeline()
        pipe.set(_worker_key(entry.name), entry.model_dump_json(), px=int(seconds * 1000))
        listed = WORKERS if entry.queue == "generation" else TRAINERS
        pipe.zadd(listed, {entry.name: entry.seen_at.timestamp() + seconds})
        pipe.execute()


def withdraw_worker(redis: Redis, name: str) -> None:
    with reachable():
        pipe = redis.pipeline()
        pipe.delete(_worker_key(name))
        pipe.zrem(WORKERS, name)
        pipe.zrem(TRAINERS, name)
        pipe.execute()


def live_workers(redis: Redis) -> list[WorkerEntry]:
    """Every worker whose entry has not run out, those that train last."""
    with reachable():
        generating: Any = redis.zrange(WORKERS, 0, -1)
        training: Any = redis.zrange(TRAINERS, 0, -1)
        names = [*generating, *training]
        if not names:
            return []
        found: Any = redis.mget([_worker_key(name.decode()) for name in names])
        gone = [name for name, entry in zip(names, found, strict=True) if entry is None]
        if gone:
            redis.zrem(WORKERS, *gone)
            redis.zrem(TRAINERS, *gone)
    return [WorkerEntry.model_validate_json(entry) for entry in found if entry is not None]


def _worker_key(name: str) -> str:
    return f"es:worker:{name}"
