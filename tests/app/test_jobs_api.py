"""Jobs as a resource: lists, retries, deletion, files, usage."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from deploy.localstack import LocalStack
from tests.conftest import GuardedService, settings_of
from tests.pictures import png, road_and_buildings
from tests.waiting import job_end, until
from worker.layout import job_prefix
from worker.storage import Storage

SMALL = {"width": "64", "height": "64", "num_inference_steps": "2"}


def make(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    mask = png(road_and_buildings(64))
    answer = client.post("/v1/generations?wait=60", files={"mask": mask}, data=SMALL | fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


# No picture of two steps reaches this: every try is rejected.
STRICT = '{"policy": "strict", "max_tries": 2, "thresholds": {"technical": 100.0}}'


def test_lists_by_filters_with_cursors_of_their_own(client: httpx.Client) -> None:
    ids = [make(client, custom_id="listed", filter='{"policy": "off"}')["id"] for _ in range(3)]
    first = client.get("/v1/jobs", params={"custom_id": "listed", "limit": 2}).json()
    assert [job["id"] for job in first["items"]] == ids[:0:-1]
    rest = client.get("/v1/jobs", params={"custom_id": "listed", "cursor": first["next_cursor"]}).json()
    assert [job["id"] for job in rest["items"]] == ids[:1]
    assert rest["next_cursor"] is None
    for others in ({}, {"custom_id": "other"}, {"custom_id": "listed", "kind": "dataset"}):
        answer = client.get("/v1/jobs", params={**others, "cursor": first["next_cursor"]})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
    found = client.get("/v1/jobs", params={"kind": "generation", "status": "succeeded", "limit": 200}).json()
    assert set(ids) <= {job["id"] for job in found["items"]}
    assert client.get("/v1/jobs", params={"status": "x"}).status_code == 422


def test_what_was_exhausted_is_retried_with_other_pictures(client: httpx.Client) -> None:
    job = make(client, num_images="3", seed="5", filter=STRICT, custom_id="again")
    assert job["counts"]["exhausted"] == 3
    answer = client.post(f"/v1/jobs/{job['id']}/retry", headers={"Idempotency-Key": "retry-1"})
    assert answer.status_code == 202
    again = answer.json()
    assert again["retried_from"] == job["id"] != again["id"]
    assert again["custom_id"] == "again"
    assert again["counts"]["requested"] == 3
    repeated = client.post(f"/v1/jobs/{job['id']}/retry", headers={"Idempotency-Key": "retry-1"})
    assert repeated.json()["id"] == again["id"]
    job_end(client, again["id"])
    samples = client.get(f"/v1/jobs/{again['id']}/results").json()["items"]
    assert [sample["index"] for sample in samples] == [0, 1, 2]
    # each had two tries before, numbers 0 and 1: the last of two more is number 3, with a seed of its own
    assert [sample["try_number"] for sample in samples] == [3, 3, 3]
    assert not {s["seed"] for s in samples} & {s["seed"] for s in job["samples"]}


def test_what_cannot_be_retried(client: httpx.Client) -> None:
    done = make(client, filter='{"policy": "off"}')
    answer = client.post(f"/v1/jobs/{done['id']}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_retry")


def test_a_data_sets_missing_samples_are_retried(client: httpx.Client) -> None:
    masks = [
        client.post("/v1/masks", files={"file": png(road_and_buildings(64 + 8 * number))}).json()["id"]
        for number in range(2)
    ]
    body = {
        "masks": {"mask_ids": masks},
        "samples_per_mask": 2,
        "seed": 3,
        "width": 64,
        "height": 64,
        "num_inference_steps": 2,
        "filter": {"policy": "strict", "max_tries": 1, "thresholds": {"technical": 100.0}},
    }
    job = job_end(client, client.post("/v1/datasets", json=body).json()["id"], 90)
    assert job["counts"]["exhausted"] == 4
    again = client.post(f"/v1/jobs/{job['id']}/retry").json()
    ended = job_end(client, again["id"], 90)
    assert ended["counts"]["requested"] == ended["counts"]["exhausted"] == 4
    samples = client.get(f"/v1/jobs/{again['id']}/results").json()["items"]
    assert [(one["index"], one["try_number"]) for one in samples] == [(n, 1) for n in range(4)]
    before = client.get(f"/v1/jobs/{job['id']}/results").json()["items"]
    assert [one["mask_sha256"] for one in samples] == [one["mask_sha256"] for one in before]


def test_a_file_has_an_address_that_stays(client: httpx.Client) -> None:
    sample = make(client, filter='{"policy": "off"}')["samples"][0]
    answer = client.get(sample["image"]["link"])
    assert answer.status_code == 307
    body = httpx.get(answer.headers["location"], trust_env=False).content
    assert hashlib.sha256(body).hexdigest() == sample["image"]["sha256"]
    mask = httpx.get(client.get(sample["mask"]["link"]).headers["location"], trust_env=False).content
    assert hashlib.sha256(mask).hexdigest() == sample["mask_sha256"]


@pytest.mark.parametrize(
    "key",
    [
        "jobs/{id}/request.json",
        "jobs/{id}/result.json",
        "jobs/{id}/attempt-1-00000000/absent.png",
        "local/jobs/{id}/request.json",
        "../zenith/masks/a.png",
        "jobs/../../_keys/key_0/key.json",
        "_keys/key_0/key.json",
        "models/x/versions/000001/manifest.json",
        "masks/",
        "masks//a.png",
        "",
    ],
)
def test_the_services_own_documents_are_no_files(client: httpx.Client, key: str) -> None:
    job = client.get("/v1/jobs", params={"limit": 1}).json()["items"]
    path = "/v1/files/" + key.format(id=job[0]["id"] if job else "job_0")
    answer = client.get(path)
    assert answer.status_code == 404


def test_a_deleted_job_answers_410(client: httpx.Client, service: LocalStack) -> None:
    job = make(client, filter='{"policy": "off"}')
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    for path in ("", "/results", "/events"):
        answer = client.get(f"/v1/jobs/{job['id']}{path}")
        assert (answer.status_code, answer.json()["code"]) == (410, "job_deleted")
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 410
    assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 410
    assert job["id"] not in {
        one["id"] for one in client.get("/v1/jobs", params={"limit": 200}).json()["items"]
    }
    storage = Storage(settings_of(service))
    assert list(storage.keys(job_prefix("local", job["id"]))) == []
    assert client.get(job["samples"][0]["image"]["link"]).status_code == 404
    url = job["samples"][0]["image"]["url"]
    assert httpx.get(url, trust_env=False).status_code == 404  # a presigned URL too


def test_a_running_job_is_stopped_and_deleted(client: httpx.Client, service: LocalStack) -> None:
    mask = png(road_and_buildings(256))
    answer = client.post(
        "/v1/generations",
        files={"mask": mask},
        data={"num_images": "16", "num_inference_steps": "100", "filter": '{"policy": "off"}'},
    )
    job_id = answer.json()["id"]
    until(lambda: client.get(f"/v1/jobs/{job_id}").json()["status"] == "running", seconds=30)
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    until(lambda: client.get("/v1/workers").json()["items"][0]["job"] is None, seconds=30)
    storage = Storage(settings_of(service))
    until(lambda: not list(storage.keys(job_prefix("local", job_id))), seconds=30)
    assert client.get(f"/v1/jobs/{job_id}").status_code == 410
    assert make(client, filter='{"policy": "off"}')["status"] == "succeeded"  # the worker goes on


def test_usage_counts_what_ended(client: httpx.Client) -> None:
    def counted() -> dict[str, Any]:
        found: dict[str, Any] = client.get("/v1/usage").json()["total"]
        return found

    before = counted()
    make(client, num_images="2", filter='{"policy": "off"}')
    after = counted()
    assert after["images_generated"] - before["images_generated"] == 2
    assert after["images_accepted"] - before["images_accepted"] == 2
    assert after["worker_seconds"]["generation"] > before["worker_seconds"].get("generation", 0)
    for wrong in ({"from": "2026-02-02", "to": "2026-02-01"}, {"from": "2020-01-01", "to": "2026-01-01"}):
        answer = client.get("/v1/usage", params=wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_period")
    assert client.get("/v1/usage", params={"from": "0001-01-01", "to": "0001-01-02"}).status_code == 200
    assert client.get("/v1/usage", params={"to": "0001-01-01"}).status_code in {200, 422}


@pytest.mark.parametrize(
    ("path", "params"), [("/v1/jobs", {"cursor": "a" * 9000}), (f"/v1/jobs/{'a' * 9000}", {})]
)
def test_a_target_that_nobody_reads_to_its_end_is_documented(
    guarded: GuardedService, path: str, params: dict[str, str]
) -> None:
    with guarded.client("acme") as client:  # which holds every answer against the document
        answer = client.get(path, params=params)
    assert (answer.status_code, answer.json()["code"]) == (414, "uri_too_long")


def test_another_tenants_cursor_is_no_cursor(guarded: GuardedService) -> None:
    cursors = {}
    for tenant in ("acme", "zenith"):
        with guarded.client(tenant) as client:
            for _ in range(2):
                mask = png(road_and_buildings(64))
                assert client.post("/v1/generations", files={"mask": mask}, data=SMALL).status_code == 202
            cursors[tenant] = client.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]
    with guarded.client("acme") as client:
        bodies = [
            client.get("/v1/jobs", params={"limit": 1, "cursor": cursor}).json()
            for cursor in (cursors["zenith"], "nonsense")
        ]
    for body in bodies:
        body.pop("request_id")
    assert bodies[0] == bodies[1]
    assert bodies[0]["code"] == "invalid_cursor"
