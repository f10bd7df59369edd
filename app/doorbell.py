"""One subscription of this process, which wakes every stream that waits for news of its job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from worker.events import BELL, bell_of
from worker.logs import get_logger

log = get_logger(__name__)

_AGAIN_SECONDS = 0.5  # between two attempts at a Redis that is away


class Doorbell:
    """Says when a job has a new event. It may ring for nothing, and after an outage it does so for everyone.

    It listens for those jobs alone that somebody follows: what happens to others costs this process nothing.
    """

    def __init__(self, redis_url: str) -> None:
        self.closed = False
        self._redis_url = redis_url
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._rings = 0
        self._subscription: PubSub | None = None
        self._asked: set[str] = set()  # whose news Redis was asked for
        self._changing = asyncio.Lock()  # what is asked of Redis goes out in the order of who came and left
        self._changes: set[asyncio.Task[None]] = set()

    @property
    def rings(self) -> int:
        """How often it has rung: between two equal numbers there was no news that this process heard of."""
        return self._rings

    @contextmanager
    def heard(self, job_id: str) -> Iterator[asyncio.Event]:
        """Inside: an event that is set whenever the bell rings for the job, and when it is closed."""
        rung = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(rung)
        self._ask_soon(job_id)
        try:
            yield rung
        finally:
            others = self._waiting[job_id]
            others.discard(rung)
            if not others:
                del self._waiting[job_id]
                self._ask_soon(job_id)

    async def listen(self) -> None:
        """Rings until it is canceled, through every outage of Redis."""
        away = False
        once = Retry(NoBackoff(), 0)  # redis-py would subscribe again by itself, without a word
        async with AsyncRedis.from_url(
            self._redis_url, socket_connect_timeout=1, socket_timeout=2, retry=once
        ) as redis:
            while True:
                try:
                    async with redis.pubsub() as subscription:
                        async with self._changing:
                            asked = set(self._waiting)
                            # The first channel keeps the subscription alive while nobody follows anything.
                            await subscription.subscribe(BELL, *map(bell_of, asked))
                            self._subscription, self._asked = subscription, asked
                        self._ring_all()  # whatever was published before
                        away = False
                        async for message in subscription.listen():
                            # That it listens now is news too: an event may have come just before.
                            if message["type"] in {"message", "subscribe"}:
                                self._ring(message["channel"].decode().removeprefix(bell_of("")))
                except RedisError as error:
                    if not away:
                        log.warning("no news of events, streams look every few seconds", error=str(error))
                    away = True
                    await asyncio.sleep(_AGAIN_SECONDS)
                finally:
                    self._subscription = None

    def close(self) -> None:
        """Ends every stream, soon."""
        self.closed = True
        self._ring_all()

    def _ask_soon(self, job_id: str) -> None:
        # A task of its own: whoever leaves is being canceled, and must not wait.
        if (job_id in self._waiting) != (job_id in self._asked):
            change = asyncio.create_task(self._ask(job_id))
            self._changes.add(change)
            change.add_done_callback(self._changes.discard)

    async def _ask(self, job_id: str) -> None:
        """Asks Redis for the job's news if somebody waits for it, and to be spared it if nobody does."""
        async with self._changing:
            wanted, subscription = job_id in self._waiting, self._subscription
            if subscription is None or wanted == (job_id in self._asked):
                return  # without a subscription: the next one asks for all that are waited for
            with suppress(RedisError):  # the listener finds out too, and begins anew
                if wanted:
                    self._asked.add(job_id)
                    await subscription.subscribe(bell_of(job_id))
                else:
                    self._asked.discard(job_id)
                    await subscription.unsubscribe(bell_of(job_id))

    def _ring(self, job_id: str) -> None:
        self._rings += 1
        for rung in self._waiting.get(job_id, ()):
            rung.set()

    def _ring_all(self) -> None:
        for job_id in list(self._waiting):
            self._ring(job_id)
