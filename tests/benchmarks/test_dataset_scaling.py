"""How data sets use workers: two are nearly twice as fast, nobody waits long, the GPU hardly idles.

The pipeline sleeps, so that two workers can work at once on few cores; everything around it is real.
`EARTHSYNTH_BENCH=long` takes the sizes of docs/benchmarks.md.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from deploy.localstack import LocalStack
from tests.chaos.checker import check_dataset
from tests.conftest import QUICK, settings_of
from tests.pictures import png
from worker.storage import Storage

LONG = os.environ.get("EARTHSYNTH_BENCH") == "long"
STEP_SECONDS = 0.25
SIDE = 64
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    data = tmp_path_factory.mktemp("scaling")
    with LocalStack(data, parts={"redis", "s3", "api"}, env=QUICK) as running:
        yield running


@pytest.fixture
def client(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.api_url, trust_env=False, timeout=60) as found:
        yield found


@contextlib.contextmanager
def workers(
    stack: LocalStack, count: int, busy: Path, step_seconds: float = STEP_SECONDS
) -> Iterator[list[int]]:
    """That many sleeping workers, ready; they end with the block."""
    environment = os.environ | stack.environment | {"OMP_NUM_THREADS": "1"}
    names = [f"earthsynth-worker-sleeping-{uuid.uuid4().hex[:8]}" for _ in range(count)]
    module = [sys.executable, "-m", "tests.benchmarks.sleeping_worker"]
    running = [
        subprocess.Popen(
            [*module, name, str(step_seconds), str(busy)], env=environment, cwd=Path(__file__).parents[2]
        )
        for name in names
    ]
    try:
        ends = time.monotonic() + 90
        while time.monotonic() < ends:
            items = httpx.get(f"{stack.api_url}/v1/workers", trust_env=False).json()["items"]
            if {item["name"] for item in items if item["status"] == "ready"} >= set(names):
                break
            time.sleep(0.1)
        else:
            raise AssertionError("the workers did not start")
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()


def masks(client: httpx.Client, count: int) -> list[str]:
    found = []
    for number in range(count):
        ids = np.ones((SIDE, SIDE), np.uint8)
        ids[number % SIDE] = 4
        found.append(client.post("/v1/masks", files={"file": ("m.png", png(ids))}).json()["id"])
    return found


def submit(client: httpx.Client, mask_ids: list[str], samples_per_mask: int, **changes: Any) -> str:
    small = {"width": SIDE, "height": SIDE, "num_inference_steps": 1, "seed": 1, "filter": {"policy": "off"}}
    body = small | {"masks": {"mask_ids": mask_ids}, "samples_per_mask": samples_per_mask} | changes
    answer = client.post("/v1/datasets", json=body)
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["id"]
    return found


def wait(client: httpx.Client, job_id: str, seconds: float = 1200) -> dict[str, Any]:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
        if job["finished_at"]:
            assert job["status"] == "succeeded", job
            return job
        time.sleep(0.05)
    raise AssertionError(f"{job_id} did not end")


def sleeps(busy: Path) -> list[tuple[float, float]]:
    """When the one worker's pipeline was at work, step by step."""
    return [(float(first), float(last)) for first, last in map(str.split, busy.read_text().splitlines())]


def test_two_workers_share_a_data_set(stack: LocalStack, client: httpx.Client, tmp_path: Path) -> None:
    shards = 80 if LONG else 16  # of 8 pictures, two batches: half a second of sleep
    mask_ids = masks(client, 8)
    storage = Storage(settings_of(stack))
    seconds, made = {}, []
    for count in (1, 2):
        with workers(stack, count, tmp_path / f"busy-{count}"):
            began = time.monotonic()
            job = wait(client, submit(client, mask_ids, shards))
            seconds[count] = time.monotonic() - began
        made.append(check_dataset(storage, job))
    assert made[0] == made[1], made[0].difference(made[1])
    ratio = seconds[2] / seconds[1]
    print(f"\n{shards} shards: one worker {seconds[1]:.1f} s, two {seconds[2]:.1f} s, ratio {ratio:.2f}")
    assert ratio < 0.65


def test_one_picture_does_not_wait_for_a_long_data_set(
    stack: LocalStack, client: httpx.Client, tmp_path: Path
) -> None:
    mask_ids = masks(client, 8)
    shards = 200
    with workers(stack, 1, tmp_path / "busy"):
        job_id = submit(client, mask_ids, shards)
        done: list[tuple[int, float]] = []
        while len(done) < (20 if LONG else 8):  # shards that end, to know how long one takes
            settled = client.get(f"/v1/jobs/{job_id}").json()["counts"]["accepted"] // 8
            if not done or settled > done[-1][0]:
                done.append((settled, time.monotonic()))
            time.sleep(0.01)
        a_shard = (done[-1][1] - done[1][1]) / (done[-1][0] - done[1][0])
        waits = []
        for _ in range(10 if LONG else 3):
            began = time.monotonic()
            one = {"mask_id": mask_ids[0], "width": SIDE, "height": SIDE, "num_inference_steps": 1}
            client.post("/v1/generations", params={"wait": 60}, json=one | {"filter": {"policy": "off"}})
            waits.append(time.monotonic() - began)
        assert not client.get(f"/v1/jobs/{job_id}").json()["finished_at"], "the data set is still under way"
        client.post(f"/v1/jobs/{job_id}/cancel")
        in_shards = sorted(round(seconds / a_shard, 2) for seconds in waits)
    print(f"\na shard {a_shard:.2f} s; one picture waited for {in_shards} shards")
    assert in_shards[-1] < 2


def test_the_gpu_hardly_idles(stack: LocalStack, client: httpx.Client, tmp_path: Path) -> None:
    """Shards of one second; what is not sleep is S3, Redis, encoding and filter, on cores that are shared."""
    mask_ids, shards, busy = masks(client, 8), 120 if LONG else 12, tmp_path / "busy"
    with workers(stack, 1, busy, 2 * STEP_SECONDS):
        job_id = submit(client, mask_ids, shards)
        while not client.get(f"/v1/jobs/{job_id}").json()["finished_at"]:
            time.sleep(0.2)
    asleep = sleeps(busy)[2:-2]  # the first and the last shard are not like the others
    wall = asleep[-1][1] - asleep[0][0]
    idle = 1 - sum(last - first for first, last in asleep) / wall
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(asleep)]
    within, between = statistics.median(gaps[::2]), statistics.median(gaps[1::2])
    print(
        f"\nidle {idle:.1%} of {wall:.0f} s: {1000 * within:.0f} ms between two batches of a shard, "
        f"{1000 * between:.0f} ms between two shards (medians); load {os.getloadavg()[0]:.1f}"
    )
    assert idle < 0.25


def test_memory_stays_flat(stack: LocalStack, client: httpx.Client, tmp_path: Path) -> None:
    """Small samples without sleep: whatever is kept of each would show in the second half of them."""
    samples = 5000 if LONG else 640
    mask_ids = masks(client, 8)
    with workers(stack, 1, tmp_path / "busy", 0.0) as pids:
        watched = {"worker": psutil.Process(pids[0]), "api": psutil.Process(stack.pids["api"])}
        began, sizes = time.monotonic(), []
        job_id = submit(client, mask_ids, samples // 8, width=16, height=16)
        while not (job := client.get(f"/v1/jobs/{job_id}").json())["finished_at"]:
            seen = {name: process.memory_info().rss / 2**20 for name, process in watched.items()}
            sizes.append((job["counts"]["accepted"], seen))
            time.sleep(0.2)
        rate = samples / (time.monotonic() - began)
    assert job["status"] == "succeeded", job
    half = [(settled, seen) for settled, seen in sizes if samples // 2 <= settled < samples]
    growth = {
        name: statistics.linear_regression(
            [settled / 1000 for settled, _ in half], [seen[name] for _, seen in half]
        ).slope
        for name in watched
    }
    closing = max(seen["worker"] for _, seen in sizes) - half[-1][1]["worker"]
    said = ", ".join(f"{name} {slope:+.1f} MiB" for name, slope in growth.items())
    print(
        f"\n{samples} samples, {rate:.0f} a second; per 1,000 of the second half: {said}; "
        f"to close the data set: worker {closing:+.1f} MiB"
    )
    assert max(growth.values()) < (2 if LONG else 10), "of few samples the allocator's steps are most"
