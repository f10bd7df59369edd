"""POST /v1/datasets through a real server, queue, store and worker: masks in, exports out."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections import Counter
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from deploy.localstack import LocalStack
from tests.conftest import settings_of
from tests.pictures import png, road_and_buildings
from tests.waiting import job_end
from worker.queue import depth
from worker.redis_client import connect

SIDE = 64


def mask(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    ids = np.roll(road_and_buildings(SIDE), 5 * number, axis=0)
    ids[: 4 + number, :8] = 5
    return ids


def archive(masks: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for number in range(masks):
            out.writestr(f"tile_{number}.png", png(mask(number)))
    return buffer.getvalue()


def mask_set(client: httpx.Client, masks: int = 3) -> str:
    answer = client.post("/v1/mask-sets", files={"file": ("masks.zip", archive(masks))})
    assert answer.status_code in {200, 201}, answer.text
    found: str = answer.json()["id"]
    return found


def asked(set_id: str, **changes: Any) -> dict[str, Any]:
    small = {"width": SIDE, "height": SIDE, "num_inference_steps": 2, "seed": 11, "samples_per_mask": 2}
    return {"masks": {"mask_set_id": set_id}, "filter": {"policy": "off"}} | small | changes


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    return job_end(client, job_id, 90, each=add_up)


def add_up(job: dict[str, Any]) -> None:
    counts = job["counts"]
    assert counts["requested"] == sum(counts[name] for name in ("accepted", "exhausted", "failed", "pending"))
    assert counts["generated"] == counts["accepted"] + counts["rejected"]


def download(url: str) -> bytes:
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200
    return answer.content


@pytest.fixture(scope="module")
def dataset(service: LocalStack) -> dict[str, Any]:
    """A finished data set of three masks, two samples each, with everything scored and nothing rejected."""
    with httpx.Client(base_url=service.api_url, trust_env=False, timeout=90) as client:
        body = asked(mask_set(client), formats=["semantic"], splits={"train": 0.67, "val": 0.33})
        answer = client.post("/v1/datasets", json=body)
        assert answer.status_code == 202, answer.text
        job = ended(client, answer.json()["id"])
        assert job["status"] == "succeeded", job
        return job


def test_the_job_and_its_samples(client: httpx.Client, dataset: dict[str, Any]) -> None:
    assert dataset["counts"]["accepted"] == 6
    assert dataset["kind"] == "dataset"
    view = client.get(f"/v1/datasets/{dataset['id']}").json()
    report = view["selection"]["report"]
    assert report["categories"]["road"]["accepted"] == 6
    samples = client.get(view["links"]["samples"], params={"limit": 4}).json()
    rest = client.get(view["links"]["samples"], params={"cursor": samples["next_cursor"]}).json()
    items = samples["items"] + rest["items"]
    assert [sample["index"] for sample in items] == list(range(6))
    assert rest["next_cursor"] is None
    pixels: Counter[str] = Counter()
    names = {1: "bare land", 4: "road", 5: "tree", 8: "building"}
    for sample in items:
        original = mask(sample["index"] // 2)
        delivered = np.asarray(Image.open(io.BytesIO(download(sample["mask"]["url"]))))
        assert np.array_equal(delivered, original)
        pixels += Counter({names[number]: int((original == number).sum()) for number in names})
        assert hashlib.sha256(download(sample["image"]["url"])).hexdigest() == sample["image"]["sha256"]
        assert {rule["name"] for rule in sample["filter"]["rules"]} >= {"technical", "mask_agreement"}
        assert all(rule["passed"] is not False for rule in sample["filter"]["rules"]), "the policy is off"
    assert report["histogram_after"] == dict(pixels)


def test_the_format_asked_for_is_exported_by_itself(client: httpx.Client, dataset: dict[str, Any]) -> None:
    (export,) = client.get(f"/v1/datasets/{dataset['id']}/exports").json()["items"]
    job = ended(client, export["id"])
    assert job["status"] == "succeeded", job
    export = client.get(f"/v1/datasets/{dataset['id']}/exports/{export['id']}").json()
    assert export["format"] == "semantic"
    assert (export["pictures"], set(export["fidelity"].values())) == (6, {1.0})
    body = download(export["archive"]["url"])
    assert hashlib.sha256(body).hexdigest() == export["archive"]["sha256"]
    assert len(body) == export["archive"]["bytes"]
    with zipfile.ZipFile(io.BytesIO(body)) as found:
        assert found.testzip() is None
        names = set(found.namelist())
        lines = [json.loads(line) for line in found.read("manifest.jsonl").splitlines()]
    assert {"README.md", "croissant.json", "report.html", "classes.txt", "NOTICE.txt"} <= names
    assert len(lines) == 6
    splits: dict[str, set[str]] = {}
    for line in lines:
        splits.setdefault(line["split"], set()).add(line["group"])
    assert set(splits) == {"train", "val"}
    assert not splits["train"] & splits["val"], "no mask is in two splits"


def test_formats_agree_with_each_other_and_with_the_api(
    client: httpx.Client, dataset: dict[str, Any]
) -> None:
    path = f"/v1/datasets/{dataset['id']}"
    made = {}
    for name in ("coco", "yolo-segment", "webdataset"):
        answer = client.post(f"{path}/exports", json={"format": name, "include_stuff": True})
        assert answer.status_code == 202, answer.text
        made[name] = answer.json()["id"]
    views = {}
    for name, export_id in made.items():
        assert ended(client, export_id)["status"] == "succeeded"
        views[name] = client.get(f"{path}/exports/{export_id}").json()
    histogram = client.get(path).json()["selection"]["report"]["histogram_after"]
    assert {view["pictures"] for view in views.values()} == {6}
    assert len({view["annotations"] for view in views.values()}) == 1
    assert all(view["report"]["class_histogram"] == histogram for view in views.values())
    assert set(views["coco"]["fidelity"].values()) == {1.0}


def test_refiltering_is_a_new_selection(client: httpx.Client, dataset: dict[str, Any]) -> None:
    path = f"/v1/datasets/{dataset['id']}"
    before = client.get(path).json()["selection"]
    strict = client.post(f"{path}/refilter", json={"policy": "strict"}).json()["selection"]
    assert strict["number"] == before["number"] + 1
    assert strict["counts"]["accepted"] + strict["counts"]["exhausted"] == 6
    back = client.post(f"{path}/refilter", json={"policy": "off"}).json()["selection"]
    assert back["counts"] == before["counts"]
    assert back["report"] == before["report"]


def test_the_same_request_is_the_same_data_set(client: httpx.Client, dataset: dict[str, Any]) -> None:
    body = asked(mask_set(client), splits={"train": 0.67, "val": 0.33})
    again = ended(client, client.post("/v1/datasets", json=body).json()["id"])
    kept = ("index", "seed", "prompt", "mask_sha256", "status", "filter", "try_number", "transform", "labels")

    def essence(job_id: str) -> list[Any]:
        items = client.get(f"/v1/jobs/{job_id}/results").json()["items"]
        return [[item[name] for name in kept] + [item["image"]["sha256"]] for item in items]

    assert essence(again["id"]) == essence(dataset["id"])


def test_a_running_data_set_is_canceled(client: httpx.Client) -> None:
    body = asked(mask_set(client), samples_per_mask=200, num_inference_steps=4)
    job = client.post("/v1/datasets", json=body).json()
    until = time.monotonic() + 60
    while client.get(f"/v1/jobs/{job['id']}").json()["counts"]["accepted"] < 1 and time.monotonic() < until:
        time.sleep(0.05)
    assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    last = ended(client, job["id"])
    assert last["status"] == "canceled"
    assert 1 <= last["counts"]["accepted"] < 600
    items = client.get(f"/v1/jobs/{job['id']}/results", params={"limit": 200}).json()["items"]
    assert len(items) == min(200, last["counts"]["accepted"])


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"formats": ["parquet"]}, 422, "invalid_request"),
        ({"formats": [{"format": "coco", "colour": 1}]}, 422, "unknown_field"),
        ({"samples_per_mask": 0}, 422, "out_of_range"),
        ({"samples_per_mask": 1001}, 422, "out_of_range"),
        ({"goal": {"accepted_per_category": {"road": 1}}}, 422, "invalid_request"),
        (
            {"samples_per_mask": None, "goal": {"accepted_per_category": {"water": 3}}},
            422,
            "goal_unreachable",
        ),
        ({"samples_per_mask": None, "goal": {"accepted_per_category": {"lava": 3}}}, 422, "unknown_category"),
        ({"splits": {"train": 0.5}}, 422, "invalid_request"),
        ({"splits": {"../x": 1.0}}, 422, "invalid_request"),
        ({"masks": {"mask_set_id": "mset_" + "0" * 64}}, 404, "mask_set_not_found"),
        ({"masks": {"mask_ids": ["msk_" + "0" * 64]}}, 404, "mask_not_found"),
        ({"masks": {}}, 422, "invalid_request"),
        ({"filter": {"policy": "kind"}}, 422, "invalid_request"),
        ({"filter": {"thresholds": {"beauty": 1}}}, 422, "invalid_request"),
        ({"conditions": {"translate": 0.9}}, 422, "out_of_range"),
        ({"width": 100}, 422, "unsupported_size"),
        ({"colour": "red"}, 422, "unknown_field"),
        ({"model": "dalle"}, 422, "unknown_model"),
    ],
)
def test_bad_input_starts_nothing(
    client: httpx.Client, service: LocalStack, changes: dict[str, Any], status: int, code: str
) -> None:
    body = {name: value for name, value in asked(mask_set(client), **changes).items() if value is not None}
    before = [job["id"] for job in client.get("/v1/jobs", params={"limit": 1}).json()["items"]]
    answer = client.post("/v1/datasets", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert [job["id"] for job in client.get("/v1/jobs", params={"limit": 1}).json()["items"]] == before
    assert depth(connect(settings_of(service))) == 0


def test_what_cannot_be_exported_is_said(client: httpx.Client, dataset: dict[str, Any]) -> None:
    path = f"/v1/datasets/{dataset['id']}"
    unknown = client.post(f"{path}/exports", json={"format": "dota"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid_request")
    assert "webdataset" in unknown.json()["detail"]
    form = client.post(f"{path}/exports", data={"format": "coco"})
    assert (form.status_code, form.json()["code"]) == (415, "unsupported_media_type")
    running = client.post("/v1/datasets", json=asked(mask_set(client), samples_per_mask=50)).json()
    early = client.post(f"/v1/datasets/{running['id']}/exports", json={"format": "coco"})
    assert (early.status_code, early.json()["code"]) == (409, "dataset_not_ready")
    assert client.post(f"/v1/datasets/{running['id']}/refilter", json={}).status_code == 409
    client.post(f"/v1/jobs/{running['id']}/cancel")
    ended(client, running["id"])
    generation = client.post("/v1/datasets/job_00000000000000000000000000/exports", json={"format": "coco"})
    assert (generation.status_code, generation.json()["code"]) == (404, "dataset_not_found")
