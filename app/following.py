"""Following a job: its log of events from any point on, live, until the job has ended."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.dependencies import AppResources
from app.schemas import JobView, job_view
from models.errors import Gone, NotFound, Unavailable
from worker.events import Event, as_json, log_key, status_of
from worker.jobs import TERMINAL, Job
from worker.store import reachable

IDLE_SECONDS = 15.0  # after so long a comment tells proxies and clients that the stream is alive
_POLL_SECONDS = 5.0  # a bell that was lost costs no more than this
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The job at one moment, as record and as clients see it."""

    job: Job
    view: JobView

    def event(self, kind: Event) -> bytes:
        """Without an id: it is no part of the log, and does not move the place of a client that reconnects."""
        return format_sse_event(event=kind, data_str=as_json({**status_of(self.job), "job": self.view}))


@dataclass(frozen=True, slots=True)
class _Entry:
    id: str
    kind: str
    data: str

    @property
    def is_last(self) -> bool:
        return self.kind == Event.STATUS and json.loads(self.data)["status"] in TERMINAL

    def event(self) -> bytes:
        return format_sse_event(id=self.id, event=self.kind, data_str=self.data)


class EventStream(StreamingResponse):
    """An answer of events, which lets go of everything as soon as its client has gone.

    FastAPI's own, for endpoints that yield (0.165), then fails with an ExceptionGroup, since its task for comments is
    still sending when the other end is closed; clients that leave would be logged as errors of ours.
    """

    media_type = "text/event-stream"

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
            entries: list[_Entry] | None = []
            try:
                entries = await _read(found.async_redis, job_id, after)
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
            for entry in entries:
                yield entry.event()
                after, idle_since = entry.id, time.monotonic()
                if entry.is_last:
                    return
            if entries:
                continue
            if over:  # its log has run out, or nothing of it was left to tell
                return
            await _wait(rung, min(_POLL_SECONDS, IDLE_SECONDS))
            if time.monotonic() - idle_since >= IDLE_SECONDS:
                yield KEEPALIVE_COMMENT
                idle_since = time.monotonic()


async def _read(redis: AsyncRedis, job_id: str, after: str | None) -> list[_Entry] | None:
    """The next events of the log; None where the one with the id `after` is gone, so that others may be too."""
    raw: Any = await redis.xrange(log_key(job_id), min=after or "-", count=_BATCH)
    entries = [
        _Entry(entry_id.decode(), fields[b"event"].decode(), fields[b"data"].decode())
        for entry_id, fields in raw
    ]
    if after is None:
        return entries
    return entries[1:] if entries and entries[0].id == after else None


async def _wait(rung: asyncio.Event, seconds: float) -> None:
    """Until the bell rings, or so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await rung.wait()
