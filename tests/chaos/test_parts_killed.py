"""kill -9 in the middle of a job, part by part: nothing accepted is lost, and pictures stay the very same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis

from deploy.localstack import LocalStack
from tests.chaos.checker import check_whole, wait_for
from tests.conftest import QUICK, settings_of
from tests.pictures import OFF, png, road_and_buildings
from tests.waiting import until
from worker.storage import Storage

CHAOS = {"EARTHSYNTH_BATCH_SIZE": "1", "EARTHSYNTH_STALL_SECONDS": "5"}
FILE = {"mask": ("mask.png", png(road_and_buildings(256)))}
FORM = {
    "num_images": "2",
    "num_inference_steps": "40",
    "filter": OFF,
    "seed": "5",
    "width": "128",
    "height": "128",
}
pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    data: Path = tmp_path_factory.mktemp("chaos")
    with LocalStack(data, workers=1, env=QUICK | CHAOS) as running:
        yield running


@pytest.fixture
def client(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.api_url, trust_env=False, timeout=60) as found:
        yield found


def submit_and_reach(client: httpx.Client, *, step: int) -> str:
    """A job whose worker is at that denoising step at least."""
    job_id: str = client.post("/v1/generations", files=FILE, data=FORM).json()["id"]
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        if client.get(f"/v1/jobs/{job_id}").json()["progress"]["step"] >= step:
            return job_id
        time.sleep(0.05)
    raise AssertionError("the job did not start")


def the_worker(client: httpx.Client) -> int:
    """The pid of the process that is working now."""
    busy = [item for item in client.get("/v1/workers").json()["items"] if item["status"] == "busy"]
    return int(busy[0]["pid"])


def test_a_killed_worker_is_replaced_and_the_job_ends(stack: LocalStack, client: httpx.Client) -> None:
    undisturbed = client.post("/v1/generations", params={"wait": 60}, files=FILE, data=FORM).json()
    job_id = submit_and_reach(client, step=5)
    pid = the_worker(client)
    assert "earthsynth-worker" in " ".join(psutil.Process(pid).cmdline())
    os.kill(pid, signal.SIGKILL)
    job = wait_for(client, job_id)
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["worker_lost", "succeeded"]
    assert job["attempts"][0]["worker"] != job["attempts"][1]["worker"]
    pictures = check_whole(Storage(settings_of(stack)), job, pictures=2)
    assert pictures == [sample["image"]["sha256"] for sample in undisturbed["samples"]]


def test_a_killed_supervisor_takes_its_worker_along_and_is_replaced(
    stack: LocalStack, client: httpx.Client
) -> None:
    """As a lost machine: nobody is left to release the lease, so it runs out."""
    job_id = submit_and_reach(client, step=3)
    child = psutil.Process(the_worker(client))
    os.kill(stack.pids["worker-1"], signal.SIGKILL)
    child.wait(10)
    job = wait_for(client, job_id)
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["worker_lost", "succeeded"]
    check_whole(Storage(settings_of(stack)), job, pictures=2)


def test_a_worker_that_makes_no_progress_is_killed(stack: LocalStack, client: httpx.Client) -> None:
    job_id = submit_and_reach(client, step=3)
    hung = psutil.Process(the_worker(client))
    hung.suspend()
    hung.wait(30)
    job = wait_for(client, job_id)
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["worker_lost", "succeeded"]
    check_whole(Storage(settings_of(stack)), job, pictures=2)


def test_a_frozen_machine_that_comes_back_writes_nothing(stack: LocalStack, client: httpx.Client) -> None:
    """Worker and supervisor stand still beyond the lease: another worker ends the job, the zombie drops its own."""
    job_id = submit_and_reach(client, step=2)
    frozen = [psutil.Process(the_worker(client)), psutil.Process(stack.pids["worker-1"])]
    for process in reversed(frozen):
        process.suspend()
    with LocalStack(stack.path / "second", parts={"workers"}, workers=1, env=stack.environment):
        try:
            job = wait_for(client, job_id)
        finally:
            for process in frozen:
                process.resume()
        time.sleep(5)
        assert client.get(f"/v1/jobs/{job_id}").json() == job
        check_whole(Storage(settings_of(stack)), job, pictures=2)


def test_a_killed_api_and_a_killed_redis_lose_nothing(stack: LocalStack, client: httpx.Client) -> None:
    job_id = submit_and_reach(client, step=2)
    for part in ("api", "redis"):
        os.kill(stack.pids[part], signal.SIGKILL)
        time.sleep(2)
    job = wait_for(client, job_id)
    check_whole(Storage(settings_of(stack)), job, pictures=2)


def test_a_redis_that_forgets_everything_loses_no_job(stack: LocalStack, client: httpx.Client) -> None:
    jobs = [client.post("/v1/generations", files=FILE, data=FORM).json()["id"] for _ in range(3)]
    time.sleep(2)
    with Redis.from_url(stack.redis_url) as redis:
        redis.flushall()
    for job_id in jobs:
        check_whole(Storage(settings_of(stack)), wait_for(client, job_id), pictures=2)


def test_a_killed_storage_only_delays(stack: LocalStack, client: httpx.Client) -> None:
    job_id = submit_and_reach(client, step=5)
    os.kill(stack.pids["s3"], signal.SIGKILL)
    check_whole(Storage(settings_of(stack)), wait_for(client, job_id), pictures=2)


def test_an_absent_redis_is_said_at_once(stack: LocalStack, client: httpx.Client) -> None:
    client.post("/v1/generations", params={"wait": 60}, files=FILE, data=FORM)
    os.kill(stack.pids["redis"], signal.SIGKILL)
    began = time.monotonic()
    answer = client.post("/v1/generations", files=FILE, data=FORM)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(("process", "part"), [("redis", "redis"), ("s3", "storage")])
def test_metrics_say_which_part_is_down(
    stack: LocalStack, client: httpx.Client, process: str, part: str
) -> None:
    until(lambda: f'part_up{{part="{part}"}} 1.0' in client.get("/metrics").text, seconds=30)
    frozen = psutil.Process(stack.pids[process])
    frozen.suspend()
    try:
        down = client.get("/metrics")
    finally:
        frozen.resume()
    other = {"redis": "storage", "storage": "redis"}[part]
    assert down.status_code == 200
    assert f'earthsynth_part_up{{part="{part}"}} 0.0' in down.text
    assert f'earthsynth_part_up{{part="{other}"}} 1.0' in down.text
    assert ("earthsynth_queue_entries{" in down.text) == (part != "redis"), "what is not known is not zero"
