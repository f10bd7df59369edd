"""One subscription of this process, which wakes every stream that waits for news of its job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from worker.events import BELL
from worker.logs import get_logger

log = get_logger(__name__)

_AGAIN_SECONDS = 0.5  # between two attempts at a Redis that is away


class Doorbell:
    """Says when a job has a new event. It may ring for nothing, and after an outage it does so for everyone."""

    def __init__(self, redis_url: str) -> None:
        self.closed = False
        self._redis_url = redis_url
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def heard(self, job_id: str) -> Iterator[asyncio.Event]:
        """Inside: an event that is set whenever the bell rings for the job, and when it is closed."""
        rung = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(rung)
        try:
            yield rung
        finally:
            others = self._waiting[job_id]
            others.discard(rung)
            if not others:
                del self._waiting[job_id]

    async def listen(self) -> None:
        """Rings until it is canceled, through every outage of Redis."""
        away = False
        once = Retry(NoBackoff(), 0)  # redis-py would subscribe again by itself, without a word
        async with AsyncRedis.from_url(
            self._redis_url, socket_connect_timeout=1, socket_timeout=2, retry=once
        ) as redis:
            while True:
                try:
                    async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
                        await subscription.subscribe(BELL)
                        self._ring_all()  # whatever was published before
                        away = False
                        async for message in subscription.listen():
                            self._ring(message["data"].decode())
                except RedisError as error:
                    if not away:
                        log.warning("no news of events, streams look every few seconds", error=str(error))
                    away = True
                    await asyncio.sleep(_AGAIN_SECONDS)

    def close(self) -> None:
        """Ends every stream, soon."""
        self.closed = True
        self._ring_all()

    def _ring(self, job_id: str) -> None:
        for rung in self._waiting.get(job_id, ()):
            rung.set()

    def _ring_all(self) -> None:
        for job_id in self._waiting:
            self._ring(job_id)
