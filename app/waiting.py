"""Waiting for a job inside a request: RFC 7240's `Prefer: wait=N`, or `?wait=N`."""

from __future__ import annotations

import asyncio
import re
import time

from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from app.shedding import only_waiting
from worker.jobs import TERMINAL
from worker.redis_keys import record_key

MAX_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.05
_SLOWEST_POLL_SECONDS = 0.5
_WAIT = re.compile(r"\bwait=(\d{1,6})\b")
_ENDED = {status.value.encode() for status in TERMINAL}


def preference(header: str | None, query: float | None) -> tuple[float, str | None]:
    """How long to wait (0: answer at once), and what to say in Preference-Applied."""
    text = (header or "").lower()
    if "respond-async" in text:
        return 0.0, "respond-async"
    found = _WAIT.search(text)
    if found:
        seconds = min(float(found[1]), MAX_WAIT_SECONDS)
        return seconds, f"wait={int(seconds)}"
    return (query or 0.0), None


async def wait_for_end(redis: AsyncRedis, job_id: str, seconds: float) -> bool:
    """True once the job has ended; False when the time is over or the store does not answer."""
    ends, pause = time.monotonic() + seconds, _POLL_SECONDS
    with only_waiting():
        while time.monotonic() < ends:
            try:
                status = await redis.hget(record_key(job_id), "status")
            except RedisError:
                return False
            if status in _ENDED:
                return True
            await asyncio.sleep(pause)
            pause = min(pause * 1.1, _SLOWEST_POLL_SECONDS)
    return False
