"""A training whose worker is killed again and again makes the very model that an undisturbed one makes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deploy.localstack import LocalStack
from models.cfcomp.vault import MARKER
from tests.chaos.checker import wait_for
from tests.conftest import QUICK, settings_of
from tests.training_pairs import kept_pairs
from tests.waiting import until
from worker.layout import checkpoints_prefix
from worker.storage import Storage

STEPS, INTERVAL, KILLS = (30, 3, 5) if os.environ.get("EARTHSYNTH_CHAOS") == "long" else (20, 3, 3)
BODY: dict[str, Any] = {
    "steps": STEPS,
    "checkpoint_every": INTERVAL,
    "resolution": 64,
    "batch_size": 2,
    "warmup_steps": 0,
    "trained": "controlnet",
    "ema_decay": 0.9,
    "lr_schedule": "cosine",
    "validation": {"pictures": 1},
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    data: Path = tmp_path_factory.mktemp("chaos-training")
    with LocalStack(data, workers=1, trainers=1, env=QUICK) as running:
        yield running


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.api_url, trust_env=False, timeout=60) as found:
        yield found


def train(client: httpx.Client, name: str) -> str:
    accepted = client.post("/v1/trainings", json=BODY | {"name": name, "training_set_id": kept_pairs(client)})
    assert accepted.status_code == 202, accepted.text
    return str(accepted.json()["id"])


def kill_trainer(client: httpx.Client, job_id: str) -> None:
    """kill -9 of the process that trains, by the pid it announces."""

    def busy() -> int | None:
        workers = client.get("/v1/workers").json()["items"]
        pids = [one["pid"] for one in workers if one["queue"] == "training" and one["job"] == job_id]
        return pids[0] if pids else None

    os.kill(until(busy, 120), signal.SIGKILL)


def test_killed_again_and_again_it_makes_the_same_model(stack: LocalStack, client: httpx.Client) -> None:
    calm = wait_for(client, train(client, "calm"), 300)
    assert calm["status"] == "succeeded", calm["error"]

    job_id = train(client, "killed")
    storage = Storage(settings_of(stack))
    prefix = checkpoints_prefix("local", job_id)
    draw = np.random.default_rng(4)

    def step() -> int:
        return int(client.get(f"/v1/jobs/{job_id}").json()["progress"]["done"])

    def attempts() -> int:
        return len(client.get(f"/v1/jobs/{job_id}").json()["attempts"])

    def kept() -> int:
        markers = [key for key in storage.keys(prefix) if key.endswith(MARKER)]
        return max((int(key.removeprefix(prefix)[:8]) for key in markers), default=0)

    def begun_and_not_whole() -> bool:
        keys = [key.removeprefix(prefix) for key in storage.keys(prefix)]
        whole = {key.partition("/")[0] for key in keys if key.endswith(MARKER)}
        return any(key.partition("/")[0] not in whole for key in keys)

    inside_writing, resumed = 0, []
    for number in range(KILLS):
        before = kept()
        if number == 2:
            inside_writing += until(begun_and_not_whole, 120)
        else:
            goal = min(before + INTERVAL + int(draw.integers(1, INTERVAL)), STEPS - 2)
            until(lambda goal=goal: step() >= goal, 120)
        reached, saved = step(), kept()
        kill_trainer(client, job_id)
        assert reached - saved <= INTERVAL, "at most one interval is lost"
        until(lambda number=number: attempts() == number + 2, 120)
        resumed.append(saved)
    assert inside_writing == 1
    assert resumed == sorted(resumed)

    job = wait_for(client, job_id, 300)
    assert job["status"] == "succeeded", job["error"]
    assert [one["outcome"] for one in job["attempts"]] == ["worker_lost"] * KILLS + ["succeeded"]
    result = client.get(f"/v1/trainings/{job_id}").json()["result"]
    assert result["resumed_from"] >= resumed[-1]
    assert job["model"]["sha256"] == calm["model"]["sha256"], "every file of the model is the same"
    history = client.get(f"/v1/trainings/{job_id}").json()["history"]
    assert [row["step"] for row in history] == list(range(1, STEPS + 1))
    losses = {name: client.get(f"/v1/trainings/{name}").json()["history"] for name in (calm["id"], job_id)}
    assert losses[calm["id"]] == losses[job_id], "the loss curve shows no sign of it"
    others = [one["queue"] for one in client.get("/v1/workers").json()["items"]]
    assert others.count("generation") == 1, "who makes pictures was not touched"
