"""`validate_only`, and what callers say of their own jobs."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from deploy.localstack import LocalStack
from tests.conftest import GuardedService, settings_of
from tests.training_pairs import kept_pairs
from tests.waiting import job_end
from worker.storage import Storage


def png_of(value: int, size: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def everything(service: LocalStack) -> set[str]:
    return set(Storage(settings_of(service)).keys("local/"))


def test_a_generation_is_checked_and_estimated(client: httpx.Client, service: LocalStack) -> None:
    asked = {"num_images": "2", "seed": "3", "filter": '{"policy": "off"}'}
    made = client.post(
        "/v1/generations?wait=60", files={"mask": png_of(5)}, data={**asked, "metadata": '{"run": "7"}'}
    ).json()
    before = everything(service)
    answer = client.post(
        "/v1/generations", files={"mask": png_of(6)}, data={**asked, "validate_only": "true"}
    )
    assert answer.status_code == 200
    view = answer.json()
    assert view["valid"]
    assert view["kind"] == "generation"
    assert view["request"]["seed"] == 3
    assert view["estimate"]["images"] == 2
    # a second source: how long the same work took by the record of the job before
    took = _seconds(made["finished_at"]) - _seconds(made["started_at"])
    assert took / 5 < view["estimate"]["seconds"] < took * 5
    assert everything(service) == before
    wrong = client.post(
        "/v1/generations", files={"mask": png_of(25)}, data={**asked, "validate_only": "true"}
    )
    assert wrong.status_code == 422  # nano knows no storage tank


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_nothing_is_kept_of_what_is_only_checked(client: httpx.Client, service: LocalStack) -> None:
    mask = client.post("/v1/masks", files={"file": png_of(4)}).json()["id"]
    other = client.post("/v1/masks", files={"file": png_of(5)}).json()["id"]
    tset = kept_pairs(client)
    before = everything(service)
    dataset = client.post(
        "/v1/datasets",
        json={"masks": {"mask_ids": [mask, other]}, "samples_per_mask": 3, "validate_only": True},
    )
    assert dataset.status_code == 200, dataset.text
    assert dataset.json()["estimate"]["images"] == 6
    training = client.post(
        "/v1/trainings",
        json={
            "training_set_id": tset,
            "base_model": "nano",
            "name": "checked",
            "steps": 30,
            "batch_size": 4,
            "validate_only": True,
        },
    )
    assert training.status_code == 200, training.text
    assert training.json()["model"]["name"] == "checked"
    assert training.json()["model"]["version"] == "1"
    assert training.json()["estimate"]["images"] == 30 * 4
    assert everything(service) == before


def test_own_words_come_back_everywhere(client: httpx.Client) -> None:
    job = client.post(
        "/v1/generations?wait=60",
        files={"mask": png_of(5)},
        data={"custom_id": "tile 7", "metadata": '{"Ort": "Zürich 🛰"}', "filter": '{"policy": "off"}'},
    ).json()
    assert (job["custom_id"], job["metadata"]) == ("tile 7", {"Ort": "Zürich 🛰"})
    assert (job["samples"][0]["custom_id"], job["samples"][0]["metadata"]) == ("tile 7", {"Ort": "Zürich 🛰"})
    assert job_end(client, job["id"])["metadata"] == {"Ort": "Zürich 🛰"}


@pytest.mark.parametrize(
    ("metadata", "good"),
    [
        ({f"k{number}": "v" for number in range(16)}, True),
        ({f"k{number}": "v" for number in range(17)}, False),
        ({"k": "v" * 500}, True),
        ({"k": "v" * 501}, False),
        ({"k" * 64: "v"}, True),
        ({"k" * 65: "v"}, False),
        ({"": "v"}, False),
        ({"k": 1}, False),
        ({"k": {"nested": "v"}}, False),
        ({"k": "\u0000"}, False),
        ({"k\n": "v"}, False),
    ],
)
def test_bounds_of_metadata(guarded: GuardedService, metadata: dict[str, object], good: bool) -> None:
    body = {"mask_id": "msk_" + "0" * 64, "metadata": metadata}
    with guarded.client("acme") as client:
        answer = client.post("/v1/generations", json=body)
    assert answer.status_code == (404 if good else 422)  # only a good one gets as far as the mask
    if not good:
        assert answer.json()["errors"][0]["pointer"].startswith("/metadata")
