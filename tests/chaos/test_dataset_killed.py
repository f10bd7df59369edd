"""A data set made twice, with killed workers, or with a Redis that forgets everything, is the very same data set."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from redis import Redis

from deploy.localstack import LocalStack
from tests.chaos.checker import Delivered, check_dataset, wait_for
from tests.conftest import QUICK, settings_of
from tests.pictures import png, road_and_buildings
from worker.storage import Storage
from worker.turns import LEASES

CHAOS = {"EARTHSYNTH_SHARD_IMAGES": "2", "EARTHSYNTH_BATCH_SIZE": "1", "EARTHSYNTH_MAX_ATTEMPTS": "5"}
MASKS, SAMPLES = 6, 2
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    data: Path = tmp_path_factory.mktemp("chaos")
    with LocalStack(data, workers=1, env=QUICK | CHAOS) as running:
        yield running


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.api_url, trust_env=False, timeout=60) as found:
        yield found


@pytest.fixture(scope="module")
def request_body(client: httpx.Client) -> dict[str, Any]:
    """Two denoising steps make pictures of which some are rejected: later tries are part of what must be equal."""
    ids = []
    for number in range(MASKS):
        mask = np.roll(road_and_buildings(128), 17 * number, axis=number % 2)
        ids.append(client.post("/v1/masks", files={"file": ("m.png", png(mask))}).json()["id"])
    size = {"width": 128, "height": 128, "num_inference_steps": 2, "seed": 21}
    rules = {"policy": "balanced", "max_tries": 2, "keep_rejected": True}
    conditions = {"flip": True, "rotate90": True, "translate": 0.1}
    return size | {
        "masks": {"mask_ids": ids},
        "samples_per_mask": SAMPLES,
        "filter": rules,
        "conditions": conditions,
    }


@pytest.fixture(scope="module")
def undisturbed(stack: LocalStack, client: httpx.Client, request_body: dict[str, Any]) -> Delivered:
    job = client.post("/v1/datasets", json=request_body).json()
    found = check_dataset(Storage(settings_of(stack)), wait_for(client, job["id"], 300))
    assert found.counts["accepted"], "pictures are part of what must be equal"
    assert found.counts["rejected"], "scores decide, so they are too"
    return found


@pytest.fixture
def redis(stack: LocalStack) -> Iterator[Redis]:
    with Redis.from_url(stack.redis_url) as found:
        yield found


def wait_until_settled(client: httpx.Client, job_id: str, samples: int) -> None:
    ends = time.monotonic() + 200
    while time.monotonic() < ends:
        counts = client.get(f"/v1/jobs/{job_id}").json()["counts"]
        if counts["requested"] - counts["pending"] >= samples:
            return
        time.sleep(0.02)
    raise AssertionError(f"{samples} samples were not settled")


def _working(client: httpx.Client) -> set[int]:
    items = client.get("/v1/workers").json()["items"]
    return {int(item["pid"]) for item in items if item["status"] in {"ready", "busy"}}


def kill_the_worker(client: httpx.Client, redis: Redis, *, seconds_into_a_shard: float) -> None:
    """kill -9 so long after it has taken an entry."""
    ends = time.monotonic() + 60
    while len(working := _working(client)) != 1:
        assert time.monotonic() < ends, "no worker has come up again"
        time.sleep(0.05)
    (pid,) = working
    before = redis.zrange(LEASES, 0, -1)
    while (leased := redis.zrange(LEASES, 0, -1)) == before or not leased:
        assert time.monotonic() < ends, "the worker takes nothing"
        time.sleep(0.002)
    time.sleep(seconds_into_a_shard)
    os.kill(pid, signal.SIGKILL)


def test_the_same_request_is_the_same_data_set(
    stack: LocalStack, client: httpx.Client, request_body: dict[str, Any], undisturbed: Delivered
) -> None:
    job = client.post("/v1/datasets", json=request_body).json()
    found = check_dataset(Storage(settings_of(stack)), wait_for(client, job["id"], 300))
    assert found == undisturbed, found.difference(undisturbed)
    other = client.post("/v1/datasets", json=request_body | {"seed": 22}).json()
    assert check_dataset(Storage(settings_of(stack)), wait_for(client, other["id"], 300)) != undisturbed


def test_three_killed_workers_change_nothing(
    stack: LocalStack,
    client: httpx.Client,
    redis: Redis,
    request_body: dict[str, Any],
    undisturbed: Delivered,
) -> None:
    job_id = client.post("/v1/datasets", json=request_body).json()["id"]
    for samples, seconds in ((1, 0.0), (4, 0.1), (7, 0.25)):
        wait_until_settled(client, job_id, samples)
        kill_the_worker(client, redis, seconds_into_a_shard=seconds)
        time.sleep(1)
    job = wait_for(client, job_id, 300)
    outcomes = [attempt["outcome"] for attempt in job["attempts"]]
    assert outcomes.count("worker_lost") >= 2, f"a shard may have ended before the third kill: {outcomes}"
    found = check_dataset(Storage(settings_of(stack)), job)
    assert found == undisturbed, found.difference(undisturbed)


def test_a_redis_that_forgets_everything_changes_nothing(
    stack: LocalStack,
    client: httpx.Client,
    redis: Redis,
    request_body: dict[str, Any],
    undisturbed: Delivered,
) -> None:
    job_id = client.post("/v1/datasets", json=request_body).json()["id"]
    wait_until_settled(client, job_id, 5)
    redis.flushall()
    found = check_dataset(Storage(settings_of(stack)), wait_for(client, job_id, 300))
    assert found == undisturbed, found.difference(undisturbed)
