"""Reading the logs of jobs: what many followers of one job want at the same moment is read, and written out, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.sse import format_sse_event
from redis.asyncio import Redis as AsyncRedis

from app.doorbell import Doorbell
from worker.events import Event, log_key
from worker.jobs import TERMINAL

_MOST = 200  # entries in one reading

_Reading = asyncio.Task[Sequence["Entry"] | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a log. `event` is what a stream says of it; `is_last`: with it the job has ended."""

    id: str
    event: bytes
    is_last: bool


class EventLogs:
    """The logs in Redis, for the streams of one process."""

    def __init__(self, redis: AsyncRedis, doorbell: Doorbell) -> None:
        self._redis, self._doorbell = redis, doorbell
        self._readings: dict[tuple[str, str | None, int], _Reading] = {}

    async def read(self, job_id: str, after: str | None) -> Sequence[Entry] | None:
        """The job's next events; None where the one with the id `after` is gone, so that others may be too.

        Whoever asks while the same is being read, and the bell has not rung since, is given what that finds. Raises
        RedisError.
        """
        key = (job_id, after, self._doorbell.rings)
        reading = self._readings.get(key)
        if reading is None:
            reading = asyncio.create_task(_read(self._redis, job_id, after))
            self._readings[key] = reading
            reading.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(reading)  # one asker that leaves does not take it from the others

    def _forget(self, key: tuple[str, str | None, int], done: _Reading) -> None:
        del self._readings[key]
        if not done.cancelled():
            done.exception()  # retrieved, should every asker have left


async def _read(redis: AsyncRedis, job_id: str, after: str | None) -> Sequence[Entry] | None:
    raw: Any = await redis.xrange(log_key(job_id), min=after or "-", count=_MOST)
    if after is None:
        return [_entry(entry_id, fields) for entry_id, fields in raw]
    if not raw or raw[0][0].decode() != after:
        return None
    return [_entry(entry_id, fields) for entry_id, fields in raw[1:]]


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    kind, data = fields[b"event"].decode(), fields[b"data"].decode()
    is_last = kind == Event.STATUS and json.loads(data)["status"] in TERMINAL
    return Entry(
        entry_id.decode(), format_sse_event(id=entry_id.decode(), event=kind, data_str=data), is_last
    )
