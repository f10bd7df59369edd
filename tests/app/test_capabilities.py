"""GET /v1/capabilities says what is enforced: settings change it, and its numbers are where refusals begin."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from tests.app.served import served
from tests.conftest import GuardedService, checked_client
from worker.dataset_specs import DatasetRequest
from worker.settings import Settings
from worker.specs import GenerationRequest
from worker.storage import Storage

CHANGED = {
    "max_json_bytes": ("json_bytes", 4096),
    "max_upload_bytes": ("upload_bytes", 5000),
    "max_archive_bytes": ("archive_bytes", 6000),
    "max_archive_entries": ("archive_entries", 7),
    "body_seconds": ("body_seconds", 8.5),
    "min_body_bytes_per_second": ("body_bytes_per_second", 9),
    "max_mask_side": ("mask_side_pixels", 1000),
    "max_concurrent_requests": ("requests_at_once", 5),
    "max_queue_depth": ("queued_jobs", 11),
    "max_tenant_queue_depth": ("queued_jobs_per_tenant", 12),
    "max_concurrent_jobs": ("concurrent_jobs_per_tenant", 13),
    "presign_seconds": ("url_seconds", 1400),
    "retention_seconds": ("retention_seconds", 15_000),
}


def capabilities_of(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/v1/capabilities")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def plain(settings: Settings, storage: Storage) -> Iterator[httpx.Client]:
    with served(settings) as url, checked_client(url) as client:
        yield client


def test_changed_settings_change_it(settings: Settings, storage: Storage, plain: httpx.Client) -> None:
    before = capabilities_of(plain)
    changes: dict[str, Any] = {name: value for name, (_, value) in CHANGED.items()}
    changes |= {"rate_limit": "600/minute", "create_rate_limit": "5/second; 100/hour"}
    changes |= {"models": "nano,earthsynth", "default_model": "nano"}
    with served(settings.model_copy(update=changes)) as url, checked_client(url) as client:
        after = capabilities_of(client)
    for field, value in CHANGED.values():
        assert after["limits"][field] == value, field
        assert before["limits"][field] != value, field
    assert before["limits"]["concurrent_jobs_per_tenant"] is None
    assert before["limits"]["rates"] == []
    assert after["limits"]["rates"] == [
        {"of": "requests", "requests": 600, "seconds": 60},
        {"of": "creates", "requests": 5, "seconds": 1},
        {"of": "creates", "requests": 100, "seconds": 3600},
    ]
    assert (before["models"]["shipped"], after["models"]["shipped"]) == (["nano"], ["nano", "earthsynth"])
    unchanged = set(before["limits"]) - {field for field, _ in CHANGED.values()} - {"rates"}
    assert all(before["limits"][field] == after["limits"][field] for field in unchanged)


def test_its_numbers_are_where_refusals_begin(plain: httpx.Client) -> None:
    limits = capabilities_of(plain)["limits"]

    def takes(value: dict[str, Any]) -> bool:
        try:
            GenerationRequest.model_validate(value)
        except ValidationError:
            return False
        return True

    def takes_set(value: dict[str, Any]) -> bool:
        try:
            DatasetRequest.model_validate({"masks": {"mask_ids": ["m"]}, "samples_per_mask": 1} | value)
        except ValidationError:
            return False
        return True

    for field, name in (
        ("num_images", "images_per_generation"),
        ("num_inference_steps",) * 2,
        ("seed", "seed"),
    ):
        assert takes({field: limits[name]})
        assert not takes({field: limits[name] + 1})
    assert takes({"prompt": "x" * limits["prompt_characters"]})
    assert not takes({"prompt": "x" * (limits["prompt_characters"] + 1)})
    assert takes({"filter": {"max_tries": limits["tries_per_sample"]}})
    assert not takes({"filter": {"max_tries": limits["tries_per_sample"] + 1}})
    assert takes_set({"samples_per_mask": limits["samples_per_mask"]})
    assert not takes_set({"samples_per_mask": limits["samples_per_mask"] + 1})
    assert takes_set({"masks": {"mask_ids": ["m"] * limits["mask_ids_per_dataset"]}})
    assert not takes_set({"masks": {"mask_ids": ["m"] * (limits["mask_ids_per_dataset"] + 1)}})
    assert plain.get("/v1/jobs", params={"limit": limits["page_items"]}).status_code == 200
    assert plain.get("/v1/jobs", params={"limit": limits["page_items"] + 1}).status_code == 422
    assert [limits[name] for name in ("polygons", "polygon_points")] == [10_000, 100_000]  # hostile J51, J52
    waits = {"params": {"wait": limits["wait_seconds"] + 1}, "json": {}}
    assert plain.post("/v1/generations", **waits).json()["errors"][0]["pointer"] == "/wait"  # type: ignore[arg-type]


def test_its_names_are_those_of_the_contract(plain: httpx.Client) -> None:
    found = capabilities_of(plain)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert (found["version"], found["api_version"]) == (project["version"], "1")
    assert found["schedulers"] == ["unipc", "ddim", "dpmpp", "euler", "pndm"]
    assert found["masks"]["formats"] == ["png", "tiff", "npy"]
    assert {"auto", "class_id", "palette", "color", "binary"} <= set(found["masks"]["encodings"])
    assert {"resize", "pad", "reject"} <= set(found["masks"]["size_policies"])
    assert set(found["exports"]) >= {"coco", "yolo-detect", "voc", "semantic", "webdataset", "hf"}
    assert found["filter"]["policies"] == ["off", "balanced", "strict"]
    assert "mask_agreement" in found["filter"]["rules"]
    assert [o["name"] for o in plain.get("/v1/ontologies").json()["items"]] == found["masks"]["ontologies"]
    assert found["models"]["default"] == "nano"
    features = found["features"]
    assert (features["datasets"], features["trainings"], features["events"]) == (True, True, True)
    paths = plain.get("/openapi.json").json()["paths"]
    assert features["webhooks"] == any(path.startswith("/v1/webhooks") for path in paths)


def test_it_says_whether_a_key_is_needed(plain: httpx.Client, guarded: GuardedService) -> None:
    assert capabilities_of(plain)["features"]["auth_required"] is False
    with guarded.client() as nobody, guarded.client("acme") as somebody:
        assert nobody.get("/v1/capabilities").status_code == 401
        assert capabilities_of(somebody)["features"]["auth_required"] is True
