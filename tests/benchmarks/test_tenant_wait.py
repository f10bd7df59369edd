"""What another tenant's queue costs one picture: its wait alone, beside a large data set, beside many generations.

One worker whose pipeline sleeps, so that a picture and a shard take the same time on any machine; all around it is
real. Held to twice the wait alone, plus one shard of the other tenant, which may be under way.
`EARTHSYNTH_BENCH=long` takes the sizes of docs/benchmarks.md.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.localstack import LocalStack
from tests.benchmarks.test_dataset_scaling import workers
from tests.conftest import QUICK, checked_client, settings_of
from tests.pictures import png, road_and_buildings
from tests.waiting import job_end, until
from worker.api_keys import Scope, create_key
from worker.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
LONG = os.environ.get("EARTHSYNTH_BENCH") == "long"
MANY, TIMES = (1000, 10) if LONG else (60, 3)
STEP_SECONDS, STEPS = 0.25, 4  # a batch, of four pictures at most, takes a second
SHARD_IMAGES, SHARD_SECONDS = 8, 2 * STEPS * STEP_SECONDS
MASK = png(road_and_buildings(64))
ASKED = {"num_inference_steps": f"{STEPS}", "filter": '{"policy": "off"}', "width": "64", "height": "64"}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx.Client]]:
    env = QUICK | {
        "EARTHSYNTH_SHARD_IMAGES": f"{SHARD_IMAGES}",
        "EARTHSYNTH_MAX_TENANT_QUEUE_DEPTH": "2000",
        "EARTHSYNTH_LOG_LEVEL": "ERROR",
    }
    data = tmp_path_factory.mktemp("turns")
    with (
        LocalStack(data, parts={"redis", "s3", "api"}, env=env) as stack,
        workers(stack, 1, data / "busy", STEP_SECONDS),
    ):
        storage = Storage(settings_of(stack))
        found = {}
        for tenant in ("a", "b"):
            key = create_key(storage, tenant=tenant, name="bench", scopes=[Scope.ADMIN])[0]
            found[tenant] = checked_client(stack.api_url, headers={"Authorization": f"Bearer {key}"})
        yield found
        for client in found.values():
            client.close()


def generation(client: httpx.Client) -> str:
    answer = client.post("/v1/generations", files={"mask": ("m.png", MASK)}, data=ASKED)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def waits(client: httpx.Client) -> list[float]:
    """Seconds from sending one picture to its end, sent at odd moments."""
    found = []
    for number in range(TIMES):
        time.sleep(0.37 * number % 1.0)
        began = time.monotonic()
        assert job_end(client, generation(client), 120)["status"] == "succeeded"
        found.append(time.monotonic() - began)
    return found


def told(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s"


def test_a_picture_waits_for_an_entry_of_another_tenant_not_for_its_line(
    clients: dict[str, httpx.Client], tmp_path: Path
) -> None:
    a, b = clients["a"], clients["b"]
    alone = waits(b)
    mask_id = a.post("/v1/masks", files={"file": ("m.png", MASK)}).json()["id"]
    asked = {"masks": {"mask_ids": [mask_id]}, "num_inference_steps": STEPS, "filter": {"policy": "off"}}
    asked |= {"width": 64, "height": 64, "samples_per_mask": 1000}
    large = a.post("/v1/datasets", json=asked).json()["id"]
    until(lambda: a.get(f"/v1/jobs/{large}").json()["counts"]["generated"] > 0, seconds=60)
    beside_dataset = waits(b)
    assert a.post(f"/v1/jobs/{large}/cancel").status_code == 200
    job_end(a, large, 60)
    last = [generation(a) for _ in range(MANY)][-1]
    beside_generations = waits(b)
    ahead = a.get(f"/v1/jobs/{last}").json()["queue"]["position"]
    print(
        f"\nalone: {told(alone)}\nbeside a data set of 1,000 samples: {told(beside_dataset)} "
        f"(a shard: {SHARD_SECONDS:.2f} s)\nbeside {ahead} waiting generations: {told(beside_generations)}"
    )
    assert ahead > MANY / 2
    limit = 2 * statistics.median(alone)
    assert statistics.median(beside_dataset) <= limit + SHARD_SECONDS
    assert statistics.median(beside_generations) <= limit + STEPS * STEP_SECONDS
