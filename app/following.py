"""Following a job: its log of events from any point on, live, until the job has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from app.dependencies import AppResources
from app.event_logs import Entry
from app.schemas import JobView, job_view
from models.errors import Gone, NotFound, Unavailable
from worker.events import Event, as_json, log_key, status_of
from worker.jobs import Job
from worker.redis_client import reachable

IDLE_SECONDS = 15.0  # after so long a comment tells proxies and clients that the stream is alive
_POLL_SECONDS = 5.0  # a bell that was lost costs no more than this


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The job at one moment, as record and as clients see it."""

    job: Job
    view: JobView

    def event(self, kind: Event) -> bytes:
        """Without an id: it is no part of the log, and does not move the place of a client that reconnects."""
        return format_sse_event(event=kind, data_str=as_json({**status_of(self.job), "job": self.view}))


class EventStream(EventSourceResponse):
    """An answer of events, which lets go of everything as soon as its client has gone.

    Of FastAPI's class it takes place and type, but not the endpoints that yield (0.165): those fail with an
    ExceptionGroup when a client leaves while its comment is sent, and would be logged as errors of ours.
    """

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()


def snapshot(found: AppResources, tenant: str, job_id: str) -> Snapshot:
    """The job now. Blocks. Raises NotFound, Unavailable."""
    job = found.intake.find(tenant, job_id)
    return Snapshot(job, job_view(job, found.intake.store.redis))


async def nothing_follows(redis: AsyncRedis, seen: Snapshot, after: str | None) -> bool:
    """Whether the job has ended and that event was its last one. Raises Unavailable."""
    if after is None or not seen.job.ended:
        return False
    with reachable():
        last: Any = await redis.xrevrange(log_key(seen.job.id), count=1)
    return bool(last) and last[0][0].decode() == after


async def follow(
    found: AppResources, tenant: str, seen: Snapshot, after: str | None
) -> AsyncGenerator[bytes]:
    """The job's events after the one with that id; without it, the job as it is now and all events that are kept.

    Ends with the job's last status, or when the process stops. An outage of Redis or storage is waited out. Where the
    event `after` is not in the log any more, `resync` says how the job is now, and all events that are kept follow.
    """
    job_id = seen.job.id
    if after is None:
        yield seen.event(Event.STATUS)
    idle_since = time.monotonic()
    with found.doorbell.heard(job_id) as rung:
        while not found.doorbell.closed:
            rung.clear()  # before reading, so that nothing rings unheard
            over = seen.job.ended  # before reading too: an end that comes later is in the log
            entries: Sequence[Entry] | None = []
            try:
                entries = await found.event_logs.read(job_id, after)
                if entries is None or not (entries or after or over):
                    # Whoever looks for a job brings it back to a Redis that was lost whole.
                    seen = await run_in_threadpool(snapshot, found, tenant, job_id)
            except (NotFound, Gone):
                return
            except (RedisError, Unavailable):
                entries, over = [], False
            if entries is None:
                yield seen.event(Event.RESYNC)
                after = None
                continue
            if entries:
                yield b"".join(entry.event for entry in entries)  # nothing follows a job's last one
                after, idle_since = entries[-1].id, time.monotonic()
                if entries[-1].is_last:
                    return
                continue
            if over:  # its log has run out, or nothing of it was left to tell
                return
            await _wait(rung, min(_POLL_SECONDS, IDLE_SECONDS))
            if time.monotonic() - idle_since >= IDLE_SECONDS:
                yield KEEPALIVE_COMMENT
                idle_since = time.monotonic()


async def _wait(rung: asyncio.Event, seconds: float) -> None:
    """Until the bell rings, or so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await rung.wait()
