"""Connections to Redis, and what its absence is called."""

from __future__ import annotations

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
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


class reachable:  # noqa: N801  (reads as a clause: "with reachable()")
    """Turns Redis' connection errors into Unavailable."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, RedisError):
            raise Unavailable("The job store did not answer. Try again.", code="store_unavailable") from error
