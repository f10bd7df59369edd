"""The one checker at the end of every chaos test."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import httpx

from worker.results import read_request, read_result, read_samples
from worker.storage import Storage

ENDED = {"succeeded", "failed", "canceled"}


def wait_for(client: httpx.Client, job_id: str, seconds: float = 120) -> dict[str, Any]:
    """The job once it has ended; an API that is away meanwhile is asked again."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            answer = client.get(f"/v1/jobs/{job_id}")
        except httpx.TransportError:
            time.sleep(0.2)
            continue
        if answer.status_code == 200 and answer.json()["status"] in ENDED:
            found: dict[str, Any] = answer.json()
            return found
        time.sleep(0.1)
    raise AssertionError(f"{job_id} did not end within {seconds} s")


def check_whole(storage: Storage, job: dict[str, Any], *, pictures: int) -> list[str]:
    """The job's pictures' sha256, after checking that its result is there once, whole, and nothing else is."""
    job_id = job["id"]
    assert job["status"] == "succeeded", job
    result = read_result(storage, "local", job_id)
    assert result is not None
    assert result.job.attempts[-1].outcome == "succeeded"
    for key, sha256 in result.objects.items():
        assert hashlib.sha256(storage.read(key)).hexdigest() == sha256
    assert read_request(storage, "local", job_id) is not None
    samples = read_samples(storage, result)
    assert [sample.index for sample in samples] == list(range(pictures))
    assert {sample.image.key for sample in samples} <= result.objects.keys()
    return [sample.image.sha256 for sample in samples]
