"""The stack as a user has it: what was made is there after everything was stopped and started again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from deploy.localstack import LocalStack
from tests.conftest import QUICK
from tests.pictures import OFF, png, road_and_buildings

MASK = png(road_and_buildings(256))


def results(stack: LocalStack, job_id: str) -> list[tuple[str, str]]:
    """The recorded sha256 of each picture and that of its download."""
    answer = httpx.get(f"{stack.api_url}/v1/jobs/{job_id}/results", trust_env=False)
    samples = answer.json()["items"]
    urls = [sample["image"]["url"] for sample in samples]
    bodies = [httpx.get(url, trust_env=False).content for url in urls]
    return [
        (sample["image"]["sha256"], hashlib.sha256(body).hexdigest())
        for sample, body in zip(samples, bodies, strict=True)
    ]


@pytest.mark.timeout(300)
def test_curl_then_a_restart_of_everything(tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    mask.write_bytes(MASK)
    with LocalStack(tmp_path / "data", workers=1, env=QUICK) as stack:
        curl = ["curl", "-sS", "-F", f"mask=@{mask}", "-F", "categories=road", "-F", "num_images=2"]
        curl += ["-F", "seed=7", "-F", "num_inference_steps=2", f"{stack.api_url}/v1/generations?wait=60"]
        job = json.loads(subprocess.run(curl, capture_output=True, check=True).stdout)
        assert job["status"] == "succeeded"
        before = results(stack, job["id"])
        assert len(before) == 2
        waiting = httpx.post(
            f"{stack.api_url}/v1/generations",
            files={"mask": ("m.png", MASK)},
            data={"num_inference_steps": "40", "filter": OFF, "num_images": "2"},
            trust_env=False,
        ).json()
    with LocalStack(tmp_path / "data", workers=1, env=QUICK) as stack:
        assert (
            httpx.get(f"{stack.api_url}/v1/jobs/{job['id']}", trust_env=False).json()["status"] == "succeeded"
        )
        after = results(stack, job["id"])
        assert after == before
        assert all(recorded == downloaded for recorded, downloaded in after)
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            accepted = httpx.get(f"{stack.api_url}/v1/jobs/{waiting['id']}", trust_env=False).json()
            if accepted["finished_at"]:
                break
            time.sleep(0.2)
        assert accepted["status"] == "succeeded", "what was accepted before the stop is done after the start"
