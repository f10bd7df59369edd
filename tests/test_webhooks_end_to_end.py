"""Webhooks of real jobs, told by a real sender process to receivers on loopback."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import httpx
import psutil

from tests.app.test_datasets_api import SIDE, asked, mask_set
from tests.pictures import OFF, png, road_and_buildings
from tests.receivers import Call, Receiver, answer, receiver
from tests.waiting import job_end, until

FORM = {"num_inference_steps": "1", "filter": OFF, "width": str(SIDE), "height": str(SIDE)}


def generate(client: httpx.Client, found: Receiver, **more: str) -> str:
    """A job of one picture that tells the receiver."""
    files = {"mask": ("mask.png", png(road_and_buildings(SIDE)))}
    form = FORM | {"webhook": f'{{"url": "{found.url}"}}'} | more
    made = client.post("/v1/generations", files=files, data=form)
    assert made.status_code == 202, made.text
    job_id: str = made.json()["id"]
    return job_id


def deliveries(client: httpx.Client, job_id: str) -> dict[str, dict[str, Any]]:
    items = client.get(f"/v1/jobs/{job_id}/deliveries").json()["items"]
    return {item["event"]: item for item in items}


def all_told(
    client: httpx.Client, job_id: str, events: set[str]
) -> Callable[[], dict[str, dict[str, Any]] | None]:
    def found() -> dict[str, dict[str, Any]] | None:
        known = deliveries(client, job_id)
        told = {event for event, one in known.items() if one["status"] == "delivered"}
        return known if events <= told else None

    return found


def verified(client: httpx.Client, found: Receiver, call: Call) -> dict[str, Any]:
    endpoints = client.get("/v1/webhooks", params={"limit": 200}).json()["items"]
    endpoint = next(one["id"] for one in endpoints if one["url"] == found.url)
    return call.verified(client.get(f"/v1/webhooks/{endpoint}/secret").json()["secret"])


def test_a_generation_tells_its_webhook(client: httpx.Client) -> None:
    with receiver(answer(204)) as found:
        job_id = generate(client, found)
        known = until(all_told(client, job_id, {"job.started", "job.succeeded"}), seconds=60)
        calls = {verified(client, found, call)["type"]: call for call in found.calls}
    assert calls.keys() == known.keys() == {"job.started", "job.succeeded"}
    job = client.get(f"/v1/jobs/{job_id}").json()
    data = verified(client, found, calls["job.succeeded"])["data"]
    shared = (
        "id",
        "status",
        "created_at",
        "started_at",
        "finished_at",
        "counts",
        "model",
        "custom_id",
        "error",
    )
    assert {name: data[name] for name in shared} == {name: job[name] for name in shared}
    for event, one in known.items():
        assert one["webhook_id"] == calls[event].webhook_id
        assert [attempt["status"] for attempt in one["attempts"]] == [204]
    workers = client.get("/v1/workers").json()["items"]
    assert [one["status"] for one in workers if one["queue"] == "webhook"] == ["ready"]


def test_a_data_set_tells_of_the_exports_that_it_brings_along(client: httpx.Client) -> None:
    with receiver(answer(200)) as found:
        webhook = {"url": found.url, "events": ["job.succeeded", "dataset.export.ready"]}
        body = asked(mask_set(client, masks=1), formats=["semantic"], samples_per_mask=1, webhook=webhook)
        dataset = client.post("/v1/datasets", json=body).json()["id"]
        assert job_end(client, dataset)["status"] == "succeeded"
        until(lambda: len(found.calls) >= 2, seconds=120)  # the first export imports every reader
        told = {
            message["type"]: message["data"]
            for message in (verified(client, found, call) for call in found.calls)
        }
    assert told.keys() == {"job.succeeded", "dataset.export.ready"}
    assert told["job.succeeded"]["id"] == dataset, "not of the export, which nobody asked for by itself"
    ready = told["dataset.export.ready"]
    assert (ready["export"]["dataset_id"], ready["export"]["format"]) == (dataset, "semantic")
    assert client.get(ready["export"]["self"]).json()["status"] == "succeeded"
    page = client.post(
        f"/v1/datasets/{dataset}/exports", json={"format": "voc", "webhook": {"url": "http://127.0.0.1@x"}}
    )
    assert (page.status_code, page.json()["code"]) == (422, "credentials_in_url")
    assert len(client.get(f"/v1/datasets/{dataset}/exports").json()["items"]) == 1, "nothing was begun"


def test_a_killed_senders_delivery_arrives_all_the_same(client: httpx.Client) -> None:
    held, release = threading.Event(), threading.Event()

    def hold_the_first(connection: Any, call: Call) -> None:
        if not held.is_set():
            held.set()
            release.wait(30)
            return
        answer(200)(connection, call)

    with receiver(hold_the_first) as found:
        job_id = generate(client, found)
        assert held.wait(60)
        senders = [one for one in client.get("/v1/workers").json()["items"] if one["queue"] == "webhook"]
        (pid,) = (one["pid"] for one in senders)
        assert "worker.webhook_process" in psutil.Process(pid).cmdline()
        os.kill(pid, signal.SIGKILL)
        known = until(all_told(client, job_id, {"job.started", "job.succeeded"}), seconds=60)
        release.set()
    first, *_ = found.calls
    again = [call for call in found.calls if call.webhook_id == first.webhook_id]
    assert len(again) >= 2, "at least once, with one id"
    assert {call.body for call in again} == {first.body}
    assert {one["status"] for one in known.values()} == {"delivered"}


def test_no_webhook_may_call_the_service_itself(client: httpx.Client) -> None:
    refused = client.post("/v1/webhooks", json={"url": str(client.base_url.join("/v1/generations"))})
    assert (refused.status_code, refused.json()["code"]) == (422, "url_not_allowed")
    assert "this service itself" in refused.json()["detail"]
