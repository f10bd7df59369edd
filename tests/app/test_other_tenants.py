"""Another tenant's ids are absent: every operation of the published document with every kind of id that it takes.

A new operation fails here until its ids, and a body that it accepts, are in the tables below.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.export.options import ExportFormat, ExportOptions
from tests.app.hostile import ABSENT_JOB, MASK
from tests.conftest import GuardedService, settings_of
from tests.models.zips import packed
from tests.pictures import png, road_and_buildings
from tests.training_pairs import kept_pairs
from tests.worker.published import publish, registry_of
from worker.dataset_specs import ExportSpec
from worker.intake import Intake
from worker.jobs import model_ref
from worker.redis_client import connect
from worker.store import Store
from worker.webhook_endpoints import register

OWN = png(road_and_buildings(72))  # a mask's id is its content's: nobody else may have this one
# Path parameter → what it names; where paths share a parameter's name, the path's first words decide
PARAMETERS = {
    "job_id": "generation",
    "dataset_id": "dataset",
    "export_id": "export",
    "training_id": "training",
    "mask_id": "mask",
    "name": "model",
    "/v1/mask-sets/{set_id}": "mask_set",
    "/v1/training-sets/{set_id}": "training_set",
    "step": "step",
    "key": "file",
    "endpoint_id": "endpoint",
    "delivery_id": "delivery",
}
NOBODYS = "/ogc/processes/"  # every tenant has the same
ABSENT = {
    "generation": ABSENT_JOB,
    "dataset": ABSENT_JOB,
    "export": ABSENT_JOB,
    "training": ABSENT_JOB,
    "mask": "msk_" + "0" * 64,
    "mask_set": "mset_" + "0" * 64,
    "training_set": "tset_" + "0" * 64,
    "model": "nobodys",
    "step": "1",
    "endpoint": "whk_" + "0" * 26,
    "delivery": "dlv_" + "0" * 26,
    "file": f"masks/{'0' * 64}.png",
}
BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/datasets/{dataset_id}/refilter": {"policy": "off"},
    "POST /v1/datasets/{dataset_id}/exports": {"format": "coco"},
    "POST /v1/models/{name}/promote": {"version": "1"},
}
# Operation → what in its body names something, as paths of keys
NAMED_IN_BODIES: list[tuple[str, dict[str, Any], tuple[Any, ...], str]] = [
    ("/v1/generations", {"mask_id": None}, ("mask_id",), "mask"),
    ("/v1/generations", {"mask_id": "own", "model": None}, ("model",), "model"),
    ("/v1/datasets", {"masks": {"mask_ids": [None]}, "samples_per_mask": 1}, ("masks", "mask_ids", 0), "mask"),
    ("/v1/datasets", {"masks": {"mask_set_id": None}, "samples_per_mask": 1}, ("masks", "mask_set_id"), "mask_set"),
    ("/v1/trainings", {"training_set_id": None, "name": "x"}, ("training_set_id",), "training_set"),
    ("/v1/webhooks/test", {"endpoint_id": None}, ("endpoint_id",), "endpoint"),
    ("/ogc/processes/earthsynth/execution", {"inputs": {"mask": {"href": None}}}, ("inputs", "mask", "href"), "mask"),
    ("/v1/trainings/preview", {"training_set_id": None}, ("training_set_id",), "training_set"),
]  # fmt: skip


@dataclass(frozen=True)
class Tenants:
    """`owner` has one of each kind, `ids`; `other` has a key of its own, and one mask."""

    owner: httpx.Client
    other: httpx.Client
    ids: dict[str, str]
    mask_of_other: str

    def state(self) -> dict[str, Any]:
        """What the owner has, as it is told."""
        paths = [
            *("/v1/jobs", "/v1/models", "/v1/webhooks"),
            *(f"/v1/jobs/{self.ids[kind]}" for kind in ("generation", "dataset", "export", "training")),
            f"/v1/datasets/{self.ids['dataset']}",
            f"/v1/datasets/{self.ids['dataset']}/exports",
            f"/v1/masks/{self.ids['mask']}",
            f"/v1/mask-sets/{self.ids['mask_set']}",
            f"/v1/training-sets/{self.ids['training_set']}",
            f"/v1/models/{self.ids['model']}",
            f"/v1/webhooks/{self.ids['endpoint']}/secret",
        ]
        answers = {path: self.owner.get(path) for path in paths}
        assert {answer.status_code for answer in answers.values()} == {200}
        return {path: answer.json() for path, answer in answers.items()}


@pytest.fixture(scope="module")
def tenants(guarded: GuardedService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with guarded.client("acme") as owner, guarded.client("zenith") as other:
        ids = _make_one_of_each(guarded, owner, tmp_path_factory.mktemp("model"))
        mine = other.post("/v1/masks", files={"file": ("m.png", MASK)}).json()["id"]
        yield Tenants(owner, other, ids, mine)
        for kind in ("generation", "dataset", "export", "training"):
            assert owner.post(f"/v1/jobs/{ids[kind]}/cancel").status_code == 200


def _make_one_of_each(guarded: GuardedService, owner: httpx.Client, folder: Path) -> dict[str, str]:
    def made(path: str, **options: Any) -> str:
        answer = owner.post(path, **options)
        assert answer.status_code in {200, 201, 202}, answer.text
        return str(answer.json()["id"])

    ids = {"step": "1", "mask": made("/v1/masks", files={"file": ("m.png", OWN)})}
    ids["file"] = f"masks/{ids['mask'].removeprefix('msk_')}.png"
    assert owner.get(f"/v1/files/{ids['file']}").status_code == 307
    ids["generation"] = made("/v1/generations", json={"mask_id": ids["mask"]})
    ids["mask_set"] = made("/v1/mask-sets", files={"file": ("m.zip", packed({"own/a.png": OWN}))})
    ids["dataset"] = made(
        "/v1/datasets", json={"masks": {"mask_set_id": ids["mask_set"]}, "samples_per_mask": 1}
    )
    ids["training_set"] = kept_pairs(owner)
    name = f"own-{uuid.uuid4().hex[:8]}"
    training = {
        "training_set_id": ids["training_set"],
        "name": f"{name}-next",
        "resolution": 64,
        "batch_size": 2,
    }
    ids["training"] = made("/v1/trainings", json=training)
    (folder / "model_index.json").write_text("{}")
    ids["model"] = publish(registry_of(guarded.storage), name, folder, tenant="acme").name
    endpoint, _ = register(guarded.storage, "acme", "https://hooks.example.com/")
    ids |= {"endpoint": endpoint.id, "delivery": "dlv_" + "1" * 26}
    ids["export"] = _export(guarded, ids["dataset"])
    return ids


def _export(guarded: GuardedService, dataset_id: str) -> str:
    """An export that waits; over HTTP only a data set that has ended is exported, and no worker is here."""
    settings = settings_of(guarded.stack)
    redis = connect(settings)
    intake = Intake(settings, Store(redis), guarded.storage)
    spec = ExportSpec(
        dataset_id=dataset_id,
        selection=0,
        options=ExportOptions(format=ExportFormat.COCO),
        splits={"train": 1.0},
        samples=1,
    )
    card = registry_of(guarded.storage).find("acme", "nano")
    job = intake.submit("acme", spec, model_ref(card), ())
    redis.close()
    return job.id


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "{" in path and not path.startswith(NOBODYS)
    ]


def _kinds(path: str) -> dict[str, str]:
    """What each parameter of the path names."""
    found = {}
    for name in re.findall(r"\{(\w+)\}", path):
        key = name if name in PARAMETERS else path[: path.index("}") + 1]
        assert key in PARAMETERS, f"say in PARAMETERS what {name} of {path} names"
        found[name] = PARAMETERS[key]
    return found


def test_in_paths(tenants: Tenants) -> None:
    """I02, I33, I53, I61: the other tenant is told what anyone is told of an id that never was."""
    before = tenants.state()
    operations = _operations(tenants.owner.get("/openapi.json").json())
    assert len(operations) >= 20
    for method, path, operation in operations:
        kinds = _kinds(path)
        body = BODIES.get(f"{method} {path}")
        needs_body = operation.get("requestBody", {}).get("required", False)
        assert body is not None or not needs_body, f"say in BODIES what {method} {path} accepts"
        asked = [
            tenants.other.request(
                method, path.format(**{name: ids[kind] for name, kind in kinds.items()}), json=body
            )
            for ids in (tenants.ids, ABSENT)
        ]
        for answer in asked:
            assert answer.status_code == 404, (method, path, answer.text)
        assert _told(asked[0]) == _told(asked[1]), (method, path)
    assert tenants.state() == before


@pytest.mark.parametrize(("path", "body", "place", "kind"), NAMED_IN_BODIES)
def test_in_bodies(
    tenants: Tenants, path: str, body: dict[str, Any], place: tuple[Any, ...], kind: str
) -> None:
    before = tenants.state(), tenants.other.get("/v1/jobs").json()
    own = {"mask_id": tenants.mask_of_other} if body.get("mask_id") == "own" else {}
    asked = [
        tenants.other.post(path, json=_put(body | own, place, value))
        for value in (tenants.ids[kind], ABSENT[kind])
    ]
    for answer in asked:
        assert answer.status_code == (422 if kind == "model" else 404), answer.text
    assert _told(asked[0]) == _told(asked[1])
    assert (tenants.state(), tenants.other.get("/v1/jobs").json()) == before


def _put(body: Any, place: tuple[Any, ...], value: str) -> Any:
    """The body with the value at the place."""
    if not place:
        return value
    copy = body.copy()
    copy[place[0]] = _put(copy[place[0]], place[1:], value)
    return copy


def _told(answer: httpx.Response) -> dict[str, Any]:
    """The problem without what is this request's own: ids and names that its caller sent may be said back."""
    found = {name: value for name, value in answer.json().items() if name not in {"instance", "request_id"}}
    found["detail"] = re.sub(r"msk_[0-9a-f]{64}", "msk_…", found["detail"])
    if found["code"] == "unknown_model":
        found |= {"detail": found["detail"].partition("Offered: ")[2], "errors": []}
    return found


def test_lists_hold_ones_own(tenants: Tenants) -> None:
    other = tenants.other
    for path in ("/v1/jobs", "/v1/models", "/v1/webhooks"):
        text = other.get(path).text
        assert not [
            value
            for kind, value in tenants.ids.items()
            if kind not in {"step", "mask", "file"} and value in text
        ]
