"""/v1/models of a running service: versions published while it runs, what their names mean, and what they make."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.localstack import LocalStack
from models.card_file import CARD_FILE
from models.catalog import nano_card
from models.model_card import ModelCard, model_digest
from tests.app.test_generations_api import STEPS
from tests.conftest import settings_of
from tests.pictures import png, road_and_buildings
from tests.waiting import job_end
from tests.worker.published import CONTROLNET, changed_nano, publish, registry_of
from worker.layout import model_file_key
from worker.registry import ModelRegistry
from worker.storage import Storage

FILE = {"mask": ("mask.png", png(road_and_buildings(64)))}
FORM = STEPS | {"width": "64", "height": "64", "seed": "5"}


@pytest.fixture(scope="module")
def registry(service: LocalStack) -> Iterator[ModelRegistry]:
    """The running service's registry, as another process has it; nano is resident again afterwards."""
    yield registry_of(Storage(settings_of(service)))
    with httpx.Client(base_url=service.api_url, trust_env=False, timeout=90) as client:
        assert make(client, "nano")["status"] == "succeeded"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints that differ in their ControlNet."""
    root = tmp_path_factory.mktemp("published")
    return [changed_nano(root / str(number), number) for number in (1, 2)]


@pytest.fixture(scope="module")
def farm(registry: ModelRegistry, folders: list[Path]) -> list[ModelCard]:
    """farm@1 and farm@2, under a name of this run's own."""
    name = f"farm-{uuid.uuid4().hex[:8]}"
    return [publish(registry, name, folder) for folder in folders]


def make(client: httpx.Client, model: str | None) -> dict[str, Any]:
    """The job that made one picture with this model."""
    form = FORM if model is None else FORM | {"model": model}
    answer = client.post("/v1/generations", params={"wait": 60}, files=FILE, data=form)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def asked_of(client: httpx.Client, model: str | None) -> str:
    """The name@version that a request with this model becomes."""
    form = FORM if model is None else FORM | {"model": model}
    answer = client.post("/v1/generations", files=FILE, data=form).json()
    client.post(answer["links"]["cancel"])
    return str(answer["request"]["model"])


def test_what_was_published_while_all_runs_makes_pictures(
    client: httpx.Client, service: LocalStack, farm: list[ModelCard]
) -> None:
    before = service.pids
    jobs = [make(client, model) for model in (f"{farm[0].name}@1", f"{farm[0].name}@2", "nano")]
    assert [job["status"] for job in jobs] == ["succeeded"] * 3, jobs
    assert [job["model"]["sha256"] for job in jobs] == [farm[0].digest, farm[1].digest, nano_card().digest]
    assert len({job["samples"][0]["image"]["sha256"] for job in jobs}) == 3
    again = make(client, f"{farm[0].name}@1")
    assert again["samples"][0]["image"]["sha256"] == jobs[0]["samples"][0]["image"]["sha256"]
    assert (service.data.path / "models" / "files" / farm[0].sha256[CONTROLNET]).is_file()
    assert service.pids == before


def test_a_data_set_of_a_published_model_is_judged_by_the_filter_it_inherits(
    client: httpx.Client, farm: list[ModelCard]
) -> None:
    file = ("mask.png", png(road_and_buildings(256)))
    mask_id = client.post("/v1/masks", files={"file": file}).json()["id"]
    body = {
        "masks": {"mask_ids": [mask_id]},
        "model": f"{farm[0].name}@1",
        "samples_per_mask": 1,
        "num_inference_steps": 2,
        "filter": {"policy": "balanced", "max_tries": 1},
        "seed": 3,
    }
    job = job_end(client, client.post("/v1/datasets", json=body).json()["id"])
    assert job["status"] == "succeeded", job["error"]
    assert job["model"] == {"name": farm[0].name, "version": "1", "sha256": farm[0].digest}
    (sample,) = client.get(f"/v1/datasets/{job['id']}/samples").json()["items"]
    judged = {rule["name"]: rule["passed"] for rule in sample["filter"]["rules"]}
    # a rule that says nothing without a segmenter and its calibration
    assert judged["mask_agreement"] is not None, judged


def test_lists_and_details(client: httpx.Client, farm: list[ModelCard], folders: list[Path]) -> None:
    items = client.get("/v1/models").json()["items"]
    assert (items[0]["name"], items[0]["source"], items[0]["created_at"]) == ("nano", "shipped", None)
    mine = [item for item in items if item["name"] == farm[0].name]
    assert [item["version"] for item in mine] == ["2", "1"]
    assert {(item["source"], item["base"], item["default"]) for item in mine} == {
        ("registry", "nano@2", False)
    }
    detail = client.get(f"/v1/models/{farm[0].name}@1").json()
    assert mine[1].items() <= detail.items()
    assert (detail["recipe"], detail["data"]) == ({"steps": 3}, {"pairs": 7})
    assert detail["metrics"] == {"loss_global": 0.25}
    hashes = {
        path.relative_to(folders[0]).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folders[0].rglob("*")
        if path.is_file() and path.name != CARD_FILE
    }
    assert {place: file["sha256"] for place, file in detail["files"].items()} == hashes
    assert detail["sha256"] == model_digest(hashes)
    assert detail["files"][CONTROLNET]["bytes"] == (folders[0] / CONTROLNET).stat().st_size
    shipped = client.get("/v1/models/nano").json()
    assert [shipped[name] for name in ("recipe", "data", "metrics", "files", "training_id")] == [None] * 5


def test_promotion_and_roll_back_change_what_a_name_means_while_all_runs(
    client: httpx.Client, farm: list[ModelCard]
) -> None:
    name = farm[0].name
    assert asked_of(client, name) == f"{name}@2"
    promoted = client.post(f"/v1/models/{name}/promote", json={"version": "1"})
    assert (promoted.json()["version"], promoted.json()["current"]) == ("1", True)
    assert asked_of(client, name) == f"{name}@1"
    assert asked_of(client, f"{name}@2") == f"{name}@2"
    assert client.get(f"/v1/models/{name}").json()["version"] == "1"
    back = client.post(f"/v1/models/{name}/rollback")
    assert (back.json()["version"], back.json()["current"]) == ("2", True)
    assert asked_of(client, name) == f"{name}@2"
    nothing = client.post(f"/v1/models/{name}/rollback")
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_roll_back")


def test_the_default_can_be_set_and_taken_back(client: httpx.Client, farm: list[ModelCard]) -> None:
    name = farm[0].name
    assert asked_of(client, None) == "nano@2"
    try:
        assert client.post(f"/v1/models/{name}/default").json()["default"]
        assert asked_of(client, None) == f"{name}@2"
        assert client.post(f"/v1/models/{name}@1/default").json()["version"] == "1"
        assert asked_of(client, None) == f"{name}@1"
        defaults = [item for item in client.get("/v1/models").json()["items"] if item["default"]]
        assert [(item["name"], item["version"]) for item in defaults] == [(name, "1")]
        assert client.post("/v1/models/default/rollback").json()["version"] == "2"
    finally:
        back = client.post("/v1/models/default/rollback")
    assert (back.json()["name"], back.json()["default"]) == ("nano", True)
    assert asked_of(client, None) == "nano@2"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("nano/promote", {"version": "1"}, 409, "model_shipped"),
        ("nano/rollback", None, 409, "model_shipped"),
        ("default/promote", {"version": "1"}, 409, "model_shipped"),
        ("wood/promote", {"version": "1"}, 404, "unknown_model"),
        ("wood/rollback", None, 404, "unknown_model"),
        ("wood@1/default", None, 404, "unknown_model"),
        ("..%2Fup/default", None, 404, "not_found"),
        ("wood/promote", {"version": 1}, 422, "invalid_request"),
        ("wood/promote", {}, 422, "missing_field"),
        ("wood/promote", {"version": "1", "to": "2"}, 422, "unknown_field"),
    ],
)
def test_what_is_refused(
    client: httpx.Client, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    answer = client.post(f"/v1/models/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_name_given_by_promotion_alone_needs_a_version_that_exists(
    client: httpx.Client, farm: list[ModelCard]
) -> None:
    answer = client.post(f"/v1/models/{farm[0].name}/promote", json={"version": "3"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model")
    assert f"{farm[0].name}@2" in answer.json()["detail"]


def test_another_tenants_models_are_absent(
    client: httpx.Client, registry: ModelRegistry, tmp_path: Path
) -> None:
    name = f"theirs-{uuid.uuid4().hex[:8]}"
    (tmp_path / "model_index.json").write_text("{}")
    publish(registry, name, tmp_path, tenant="theirs")
    assert name not in client.get("/v1/models").text
    for status, answer in (
        (404, client.get(f"/v1/models/{name}@1")),
        (404, client.post(f"/v1/models/{name}/default")),
        (422, client.post("/v1/generations", files=FILE, data=FORM | {"model": name})),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, "unknown_model")
        assert name not in answer.json()["detail"].partition("Offered:")[2]


def test_a_damaged_object_fails_the_job_and_nothing_else(
    client: httpx.Client, service: LocalStack, registry: ModelRegistry, tmp_path: Path
) -> None:
    name, before = f"torn-{uuid.uuid4().hex[:8]}", service.pids
    card = publish(registry, name, changed_nano(tmp_path / "torn", 3))
    key = model_file_key("local", card.sha256[CONTROLNET])
    body = bytearray(registry.storage.read(key))
    body[-1] ^= 1
    registry.storage.delete(key)
    registry.storage.create(key, bytes(body), "application/octet-stream")
    job = make(client, name)
    assert (job["status"], job["error"]["code"]) == ("failed", "model_hash_mismatch")
    assert make(client, "nano")["status"] == "succeeded"
    assert service.pids == before
