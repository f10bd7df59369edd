"""Trainings over HTTP: what is refused, and one from upload to pictures, on real parts."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from deploy.localstack import LocalStack
from tests.conftest import QUICK, settings_of
from tests.training_pairs import kept_pairs
from tests.waiting import job_end, until
from worker.storage import Storage


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A service with one worker for pictures and one for trainings."""
    data = tmp_path_factory.mktemp("trainings")
    with LocalStack(data, workers=1, trainers=1, env=QUICK) as found:
        yield found


@pytest.fixture(scope="module")
def api(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.api_url, trust_env=False, timeout=90) as found:
        yield found


@pytest.fixture(scope="module")
def set_id(api: httpx.Client) -> str:
    return kept_pairs(api)


SMALL = {
    "resolution": 64,
    "batch_size": 2,
    "warmup_steps": 0,
    "base_model": "nano",
    "trained": "controlnet",  # with the UNet and its average a checkpoint of nano has 256 MB
}


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"training_set_id": "tset_" + "0" * 64}, 404, "training_set_not_found", None),
        ({"base_model": "nobody"}, 422, "unknown_model", "/base_model"),
        ({"learning_rate": 0}, 422, "out_of_range", "/learning_rate"),
        ({"learning_rate": float("nan")}, 422, "out_of_range", "/learning_rate"),
        ({"learning_rate": "1e-4"}, 422, "invalid_request", "/learning_rate"),
        ({"steps": 0}, 422, "out_of_range", "/steps"),
        ({"name": "nano"}, 409, "model_name_in_use", "/name"),
        ({"name": "Farm House"}, 422, "invalid_model_name", "/name"),
        ({"name": None}, 422, "invalid_request", "/name"),
        ({"resolution": 100}, 422, "invalid_request", "/resolution"),
        ({"resolution": 1024}, 422, "unsupported_size", "/resolution"),
        ({"batch_size": 4, "gradient_accumulation_steps": 3}, 422, "invalid_request", "/"),
        ({"cf_comp": {"probability": 1.5}}, 422, "out_of_range", "/cf_comp/probability"),
        ({"local_loss_weight": -1}, 422, "out_of_range", "/local_loss_weight"),
        ({"mixed_precision": "fp8"}, 422, "invalid_request", "/mixed_precision"),
        ({"epochs": 3}, 422, "unknown_field", "/epochs"),
        ({"validation": {"mask_ids": ["msk_" + "0" * 64]}}, 404, "mask_not_found", "/validation/mask_ids/0"),
        ({"resume_from": "job_01hzy3v7n5k8m2q4r6t8w0x2y4"}, 404, "training_not_found", "/resume_from"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_started(
    api: httpx.Client,
    stack: LocalStack,
    set_id: str,
    change: dict[str, Any],
    status: int,
    code: str,
    pointer: str | None,
) -> None:
    before = api.get("/v1/jobs").json()["items"]
    body = {"training_set_id": set_id, "name": "refused", **SMALL, "steps": 2, **change}
    answer = api.post("/v1/trainings", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    if pointer is not None:
        assert answer.json()["errors"][0]["pointer"] == pointer
    assert api.get("/v1/jobs").json()["items"] == before
    storage = Storage(settings_of(stack))
    assert not list(storage.keys("local/models/refused/")), "no version is reserved"


def test_from_an_upload_to_pictures_without_a_restart(
    api: httpx.Client, stack: LocalStack, set_id: str, assets: Path
) -> None:
    body = {
        "training_set_id": set_id,
        "name": "farm",
        **SMALL,
        "steps": 6,
        "checkpoint_every": 2,
        "validation": {"every": 3, "pictures": 1},
    }
    accepted = api.post("/v1/trainings", json=body)
    assert accepted.status_code == 202, accepted.text
    job_id = accepted.json()["id"]
    assert accepted.headers["Location"] == f"/v1/jobs/{job_id}"
    assert accepted.json()["model"] == {"name": "farm", "version": "1", "sha256": None}
    assert accepted.json()["request"]["recipe"]["ema_decay"] == 0.995, "nano's own default is filled in"

    with api.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        lines = [line for line in stream.iter_lines() if line]
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    seen = [one["progress"]["metrics"] for one in told if one.get("progress", {}).get("metrics")]
    wanted = {"loss_global", "loss_local", "learning_rate", "images_per_second"}
    assert seen, "losses are told while it trains"
    assert all(metrics.keys() == wanted and metrics["loss_global"] > 0 for metrics in seen)
    messages = [one["message"] for one in told if "message" in one]
    assert messages.count("checkpoint saved") == 3
    sheets = [one["fields"]["sheet"] for one in told if one.get("message") == "validation"]
    assert sheets == [f"/v1/trainings/{job_id}/validations/{step}" for step in (3, 6)]

    job = job_end(api, job_id, 120)
    assert job["status"] == "succeeded", job["error"]
    assert (job["progress"]["done"], job["progress"]["unit"]) == (6, "steps")
    assert job["counts"]["requested"] == 0
    found = api.get(f"/v1/trainings/{job_id}").json()
    assert found["result"]["model"]["name"] == "farm"
    assert found["result"]["steps"] == 6
    assert [row["step"] for row in found["history"]] == [1, 2, 3, 4, 5, 6]
    assert [one["step"] for one in found["validations"]] == [3, 6]
    sheet = httpx.get(found["validations"][-1]["sheet"]["url"], trust_env=False)
    assert api.get(sheets[-1], follow_redirects=True).content == sheet.content
    absent = api.get(f"/v1/trainings/{job_id}/validations/4")
    assert (absent.status_code, absent.json()["code"]) == (404, "validation_not_found")
    assert Image.open(io.BytesIO(sheet.content)).size[0] > 256, "made at the base's own size"
    assert found["tensorboard"], "event files are kept"

    model = api.get("/v1/models/farm@1").json()
    assert model["sha256"] == job["model"]["sha256"]
    assert api.get("/v1/models/nano").json()["sha256"] != model["sha256"]
    with (assets / "dubai_tile1_008.png").open("rb") as mask:
        made = api.post(
            "/v1/generations?wait=60",
            data={"model": "farm@1", "num_inference_steps": "2", "filter": '{"policy": "off"}', "seed": "1"},
            files={"mask": mask},
        )
    assert made.status_code == 200, made.text
    assert made.json()["status"] == "succeeded"
    assert made.json()["model"] == {"name": "farm", "version": "1", "sha256": model["sha256"]}

    again = api.post("/v1/trainings", json=body)
    assert (again.status_code, again.json()["code"]) == (409, "model_name_in_use")


def test_a_canceled_training_keeps_its_checkpoint_and_another_goes_on_from_it(
    api: httpx.Client, set_id: str
) -> None:
    body = {
        "training_set_id": set_id,
        "name": "long",
        **SMALL,
        "steps": 1000,
        "checkpoint_every": 2,
        "validation": {"pictures": 1},
    }
    job_id = api.post("/v1/trainings", json=body).json()["id"]
    until(lambda: api.get(f"/v1/jobs/{job_id}").json()["progress"]["done"] >= 3, 90)
    assert api.post("/v1/trainings", json=body).json()["code"] == "model_name_in_use", "it is being made"
    api.post(f"/v1/jobs/{job_id}/cancel")
    job = job_end(api, job_id, 30)
    assert job["status"] == "canceled"
    assert job["progress"]["done"] < 1000

    history = api.get(f"/v1/trainings/{job_id}").json()["history"]
    saved = history[-1]["step"] // 2 * 2
    other = body | {"learning_rate": 1e-3, "resume_from": job_id}
    refused = api.post("/v1/trainings", json=other)
    assert (refused.status_code, refused.json()["code"]) == (422, "resume_mismatch")

    resumed = api.post("/v1/trainings", json=body | {"steps": saved + 2, "resume_from": job_id})
    assert resumed.status_code == 202, resumed.text
    ended = job_end(api, resumed.json()["id"], 120)
    assert ended["status"] == "succeeded", ended["error"]
    result = api.get(f"/v1/trainings/{ended['id']}").json()["result"]
    assert result["resumed_from"] >= saved
    assert result["steps"] == saved + 2


def test_a_training_id_of_another_kind_is_no_training(api: httpx.Client) -> None:
    generations = [job for job in api.get("/v1/jobs").json()["items"] if job["kind"] == "generation"]
    for job_id in [job["id"] for job in generations] + ["job_01hzy3v7n5k8m2q4r6t8w0x2y4"]:
        answer = api.get(f"/v1/trainings/{job_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "training_not_found")


def test_workers_say_what_they_work_on(api: httpx.Client) -> None:
    workers = api.get("/v1/workers").json()["items"]
    assert sorted(worker["queue"] for worker in workers) == ["generation", "training"]
    assert api.get("/readyz").json()["workers"] == 1, "a trainer makes no pictures"
