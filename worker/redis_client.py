"""Connections to Redis, scripts that share a round trip, and what its absence is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.commands.core import Script
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from models.errors import Unavailable
from worker.settings import Settings


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


def connect_async(settings: Settings, *, patient: bool = False) -> AsyncRedis:
    """The same for an event loop, where hundreds take turns at twenty connections instead of failing.

    A sender of webhooks (`patient`) rides out a restart: an answer in hand is better settled late than asked for
    again.
    """
    backoff = ExponentialBackoff(cap=2, base=0.1) if patient else ExponentialBackoff(cap=0.5, base=0.05)
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=20,
        timeout=30 if patient else 5,
        socket_connect_timeout=1,
        socket_timeout=5 if patient else 2,
        retry=AsyncRetry(backoff, 20 if patient else 3),
    )
    return AsyncRedis.from_pool(pool)


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """A Lua script and what it is called with."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Any]


def call_all(redis: Redis, *calls: ScriptCall) -> list[Any]:
    """What the scripts answer, run one after the other in one round trip, which costs a client most of a call.

    They must bear to be run again: a Redis that was started anew is told the scripts first. Raises RedisError.
    """
    try:
        return _called(redis, calls)
    except NoScriptError:
        for call in calls:
            redis.script_load(call.script.script)
        return _called(redis, calls)


def _called(redis: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
    pipe = redis.pipeline(transaction=False)
    for call in calls:
        pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
    return list(pipe.execute())


class reachable:  # noqa: N801  (reads as a clause: "with reachable()")
    """Turns Redis' connection errors into Unavailable."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, RedisError):
            raise Unavailable("The job store did not answer. Try again.", code="store_unavailable") from error
