"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

ENDED = {"succeeded", "failed", "canceled"}
Found = TypeVar("Found")


def until(found: Callable[[], Found | None], seconds: float = 10) -> Found:
    """What `found` returns once it is true."""
    ends = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.02)
    return value


def job_end(
    client: httpx.Client,
    job_id: str,
    seconds: float = 60,
    *,
    each: Callable[[dict[str, Any]], object] = lambda job: None,
) -> dict[str, Any]:
    """The job once it has ended; `each` looks at every answer on the way."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
        each(job)
        if job["status"] in ENDED:
            return job
        time.sleep(0.1)
    raise AssertionError(f"{job_id} did not end: {job['status']} {job['progress']}")
