"""/ogc by the standard's own words, and with a public client of it."""

from __future__ import annotations

import base64
import hashlib
import io
from email import message_from_bytes
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from owslib.ogcapi.processes import Processes
from PIL import Image
from starlette.requests import Request

from app.ogc.links import url
from deploy.localstack import LocalStack
from tests.app import ogc_schemas as standard
from tests.app.test_datasets_api import asked, mask_set
from tests.conftest import GuardedService, settings_of
from tests.pictures import png, road_and_buildings
from tests.waiting import job_end, until
from worker.jobs import JobError, JobStatus
from worker.redis_client import connect
from worker.results import end
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store

MASK = png(road_and_buildings(64))
EXECUTION = "/ogc/processes/earthsynth/execution"
TYPES = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
QUICK: dict[str, Any] = {
    "num_inference_steps": 2,
    "width": 64,
    "height": 64,
    "seed": 7,
    "filter": {"policy": "off"},
}
DOCUMENT: dict[str, Any] = {"response": "document"}
ASYNC = {"Prefer": "respond-async"}


def inputs(**changes: Any) -> dict[str, Any]:
    value = {"value": base64.b64encode(MASK).decode(), "mediaType": "image/png", "encoding": "base64"}
    return {"mask": value} | QUICK | changes


def execute(client: httpx.Client, body: dict[str, Any], **headers: str) -> httpx.Response:
    return client.post(EXECUTION, json=body, headers=headers)


def picture(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


def made(client: httpx.Client, num_images: int) -> dict[str, Any]:
    """A job of so many pictures that has ended, made by POST /v1/generations."""
    asked = {"mask": inputs()["mask"]["value"], "num_images": num_images} | QUICK
    job: dict[str, Any] = client.post("/v1/generations", params={"wait": 60}, json=asked).json()
    assert job["status"] == "succeeded"
    return job


@pytest.fixture
def ended(client: httpx.Client) -> dict[str, Any]:
    """A job of two pictures."""
    return made(client, 2)


def test_the_landing_page_leads_everywhere(client: httpx.Client) -> None:
    page = standard.checked(standard.LANDING_PAGE, client.get("/ogc/").json())
    links = {link["rel"].rpartition("/")[2]: link["href"] for link in page["links"]}
    assert links.keys() == {"self", "service-desc", "service-doc", "conformance", "processes", "job-list"}
    for href in links.values():
        assert client.get(href).status_code == 200, href
    assert client.get("/ogc").json() == page


def test_documents_are_json_whoever_asks_by_f(client: httpx.Client, ended: dict[str, Any]) -> None:
    job = f"/ogc/jobs/{ended['id']}"
    for path in (
        "/ogc/",
        "/ogc/conformance",
        "/ogc/processes",
        "/ogc/processes/earthsynth",
        "/ogc/jobs",
        job,
    ):
        asked, plain = client.get(path, params={"f": "json"}), client.get(path)
        assert asked.status_code == 200
        assert asked.headers["content-type"] == "application/json"
        assert asked.json().keys() == plain.json().keys()
        refused = client.get(path, params={"f": "html"})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/f")
    assert client.get("/v1/jobs", params={"f": "json"}).status_code == 422, "elsewhere it is no parameter"


def test_conformance_claims_what_is_met(client: httpx.Client) -> None:
    classes = standard.checked(standard.CONFORMANCE, client.get("/ogc/conformance").json())["conformsTo"]
    ours = {name.rpartition("/")[2] for name in classes if "ogcapi-processes-1/1.0/conf/" in name}
    assert ours == {"core", "json", "job-list", "dismiss", "ogc-process-description"}


def test_the_process_is_described(client: httpx.Client) -> None:
    listed = standard.checked(standard.PROCESS_LIST, client.get("/ogc/processes?limit=5").json())
    (summary,) = listed["processes"]
    (self_link,) = [link["href"] for link in summary["links"] if link["rel"] == "self"]
    process = standard.checked(standard.PROCESS, client.get(self_link).json())
    assert summary.items() <= process.items()
    assert set(process["jobControlOptions"]) == {"sync-execute", "async-execute", "dismiss"}
    assert process["inputs"]["num_images"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 16,
        "default": 1,
    }
    assert process["inputs"]["categories"]["maxOccurs"] == 66
    assert "validate_only" not in process["inputs"]
    assert process["outputs"].keys() == {"images", "labels", "samples"}


def test_a_public_client_lists_executes_polls_and_reads(service: LocalStack) -> None:
    api = Processes(f"{service.api_url}/ogc")
    assert [process["id"] for process in api.processes()] == ["earthsynth"]
    assert api.process("earthsynth")["inputs"]["mask"]
    job = api.execute("earthsynth", inputs(num_images=2), async_=True, response="document")
    assert api.response_headers["Location"] == f"{service.api_url}/ogc/jobs/{job['jobID']}"
    assert api.response_headers["Preference-Applied"] == "respond-async"
    assert job["status"] in {"accepted", "running"}
    status = until(lambda: _ended(api, job["jobID"]), seconds=60)
    assert (status["status"], status["progress"]) == ("successful", 100)
    found = api._request(path=f"jobs/{job['jobID']}/results")
    assert len(found["images"]) == 2
    assert found["samples"]["value"]["items"][0]["seed"] == 7
    sync = Processes(f"{service.api_url}/ogc").execute("earthsynth", inputs(num_images=2), {"images": {}})
    assert sync["images"] == found["images"], "the same request gives the same pictures"


def _ended(api: Processes, job_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] = api._request(path=f"jobs/{job_id}")
    return found if found["status"] in {"successful", "failed", "dismissed"} else None


def test_a_document_holds_what_v1_delivers(client: httpx.Client, ended: dict[str, Any]) -> None:
    answer = execute(client, {"inputs": inputs(num_images=2)} | DOCUMENT)
    assert answer.status_code == 200
    found = standard.checked(standard.RESULTS, answer.json())
    assert found.keys() == {"images", "labels", "samples"}
    for image, label, sample in zip(found["images"], found["labels"], ended["samples"], strict=True):
        assert (image["mediaType"], image["encoding"]) == ("image/png", "base64")
        assert hashlib.sha256(base64.b64decode(image["value"])).hexdigest() == sample["image"]["sha256"]
        assert (picture(base64.b64decode(label["value"])) == road_and_buildings(64)).all()
    monitor = answer.headers["link"].partition(">")[0].removeprefix("<")
    status = standard.checked(standard.STATUS_INFO, client.get(monitor).json())
    assert status["status"] == "successful"
    (results,) = [link["href"] for link in status["links"] if link["rel"].endswith("/results")]
    again = client.get(results).json()
    assert again["images"] == found["images"]


def test_one_raw_output_is_itself(client: httpx.Client) -> None:
    (sample,) = made(client, 1)["samples"]
    answer = execute(client, {"inputs": inputs(), "outputs": {"images": {"transmissionMode": "value"}}})
    assert answer.headers["content-type"] == "image/png"
    assert hashlib.sha256(answer.content).hexdigest() == sample["image"]["sha256"]


def test_several_raw_outputs_are_multipart_related(client: httpx.Client, ended: dict[str, Any]) -> None:
    """Without `response` and `outputs` the standard wants all of them, raw."""
    answer = client.get(f"/ogc/jobs/{ended['id']}/results")
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + answer.content)
    assert parts.get_content_type() == "multipart/related"
    payloads = {part["Content-ID"]: part for part in parts.get_payload()}  # type: ignore[union-attr]
    assert list(payloads) == ["<images.0>", "<images.1>", "<labels.0>", "<labels.1>", "<samples>"]
    for number, sample in enumerate(ended["samples"]):
        body = payloads[f"<images.{number}>"].get_payload(decode=True)  # type: ignore[union-attr]
        assert hashlib.sha256(body).hexdigest() == sample["image"]["sha256"]  # type: ignore[arg-type]


def test_references(client: httpx.Client) -> None:
    (sample,) = made(client, 1)["samples"]
    outputs = {name: {"transmissionMode": "reference"} for name in ("images", "samples")}
    found = standard.checked(
        standard.RESULTS, execute(client, {"inputs": inputs(), "outputs": outputs} | DOCUMENT).json()
    )
    (image,) = found["images"]
    body = httpx.get(image["href"], trust_env=False).content
    assert hashlib.sha256(body).hexdigest() == sample["image"]["sha256"]
    assert client.get(found["samples"]["href"]).json()["items"][0]["seed"] == 7
    raw = execute(client, {"inputs": inputs(), "outputs": outputs})
    assert (raw.status_code, raw.content) == (204, b"")
    assert 'rel="images.0"' in raw.headers["link"]
    mixed = execute(client, {"inputs": inputs(), "outputs": {"images": {}, "samples": outputs["samples"]}})
    assert mixed.headers["content-type"].startswith("multipart/related")
    assert b"Content-Location: http" in mixed.content


def test_masks_are_ours_or_in_the_request(client: httpx.Client) -> None:
    stored = client.post("/v1/masks", files={"file": ("mask.png", MASK)}).json()["id"]
    host = str(client.base_url)
    for mask in (
        base64.b64encode(MASK).decode(),
        [{"value": base64.b64encode(MASK).decode()}],
        {"href": f"{host}/v1/masks/{stored}"},
        {"href": f"/v1/masks/{stored}/preview"},
        {"href": stored, "type": "image/png"},
    ):
        answer = execute(client, {"inputs": QUICK | {"mask": mask}}, **ASYNC)
        assert answer.status_code == 201, answer.text
        standard.checked(standard.STATUS_INFO, answer.json())
        request = client.get(f"/v1/jobs/{answer.json()['jobID']}").json()["request"]
        assert request["mask_id"] == stored


@pytest.mark.parametrize(
    "href",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/v1/masks/msk_" + "0" * 64,
        "file:///etc/passwd",
        "file:/v1/masks/msk_" + "0" * 64,
        "//example.org/v1/masks/msk_" + "0" * 64,
        "http://[::1",
        "/v1/masks/../keys",
        "",
    ],
)
def test_no_other_address_is_read(client: httpx.Client, href: str) -> None:
    answer = execute(client, {"inputs": QUICK | {"mask": {"href": href}}}, **ASYNC)
    assert answer.status_code == 422
    assert answer.json()["code"] == "mask_not_ours"
    assert answer.json()["errors"][0]["pointer"] == "/inputs/mask"


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"inputs": QUICK}, 422, "mask_missing", "/inputs/mask"),
        ({}, 422, "mask_missing", "/inputs/mask"),
        ({"inputs": QUICK | {"mask": "?"}}, 422, "invalid_base64", "/inputs/mask"),
        ({"inputs": QUICK | {"mask": "a", "mask_id": "b"}}, 422, "mask_and_mask_id", "/inputs/mask"),
        ({"inputs": inputs(num_images=17)}, 422, "out_of_range", "/inputs/num_images"),
        ({"inputs": inputs(num_images={"value": 0})}, 422, "out_of_range", "/inputs/num_images"),
        ({"inputs": inputs(num_images="2")}, 422, "invalid_request", "/inputs/num_images"),
        ({"inputs": inputs(nothing=1)}, 422, "unknown_field", "/inputs/nothing"),
        ({"inputs": inputs(validate_only=True)}, 422, "unknown_field", "/inputs/validate_only"),
        ({"inputs": inputs(categories="rode")}, 422, "unknown_category", None),
        ({"inputs": [1]}, 422, "invalid_request", "/inputs"),
        ({"inputs": inputs(), "outputs": {"nothing": {}}}, 422, "invalid_request", None),
        ({"inputs": inputs(), "response": "html"}, 422, "invalid_request", "/response"),
        (
            {"inputs": inputs(), "subscriber": {"successUri": "http://x"}},
            422,
            "unknown_field",
            "/subscriber",
        ),
        (
            {"inputs": inputs(), "outputs": {"images": {"format": {"mediaType": "image/tiff"}}}},
            422,
            "invalid_request",
            "/outputs/images/format/mediaType",
        ),
    ],
)
def test_what_is_wrong_is_said(
    client: httpx.Client, body: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    answer = execute(client, body, **ASYNC)
    problem = standard.checked(standard.EXCEPTION, answer.json())
    assert (answer.status_code, problem["code"]) == (status, code), problem
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"inputs": {"prompt": "\\ud800"}}', b"[" * 100_000, b'{"inputs": {"guidance_scale": NaN}}'],
)
def test_what_is_no_json_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post(EXECUTION, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}, answer.text
    assert client.post(EXECUTION, content=body).status_code == 415


def test_exceptions_have_the_types_of_the_standard(client: httpx.Client) -> None:
    absent = f"job_{'0' * 26}"
    answers = {
        "no-such-process": client.get("/ogc/processes/nothing"),
        "no-such-job": client.get(f"/ogc/jobs/{absent}"),
    }
    waiting = execute(client, {"inputs": inputs(num_inference_steps=60, num_images=4)}, **ASYNC).json()
    answers["result-not-ready"] = client.get(f"/ogc/jobs/{waiting['jobID']}/results")
    client.delete(f"/ogc/jobs/{waiting['jobID']}")
    for kind, answer in answers.items():
        problem = standard.checked(standard.EXCEPTION, answer.json())
        assert (answer.status_code, problem["type"]) == (404, TYPES + kind)
        assert problem["code"] == kind.replace("-", "_")
    for path in (f"/ogc/jobs/{absent}/results", "/ogc/jobs/x"):
        assert client.get(path).json()["type"] == f"{TYPES}no-such-job"
    assert client.delete(f"/ogc/jobs/{absent}").json()["type"] == f"{TYPES}no-such-job"
    nowhere = client.post("/ogc/processes/nothing/execution", json={"inputs": {}})
    assert nowhere.json()["type"] == f"{TYPES}no-such-process"


def test_dismissed(client: httpx.Client) -> None:
    job_id = execute(client, {"inputs": inputs(num_inference_steps=60, num_images=8)}, **ASYNC).json()[
        "jobID"
    ]
    for _ in range(2):
        answer = client.delete(f"/ogc/jobs/{job_id}")
        assert answer.status_code == 200
        assert standard.checked(standard.STATUS_INFO, answer.json())["status"] == "dismissed"
    assert job_end(client, job_id)["status"] == "canceled"
    assert client.get(f"/ogc/jobs/{job_id}").json()["status"] == "dismissed"
    gone = client.get(f"/ogc/jobs/{job_id}/results")
    assert (gone.status_code, gone.json()["code"]) == (404, "job_dismissed")


def test_a_job_that_has_ended_is_deleted(client: httpx.Client) -> None:
    job_id = made(client, 1)["id"]
    listed = [job["jobID"] for job in client.get("/ogc/jobs", params={"limit": 100}).json()["jobs"]]
    assert job_id in listed
    answer = client.delete(f"/ogc/jobs/{job_id}")
    assert answer.status_code == 200
    assert standard.checked(standard.STATUS_INFO, answer.json())["status"] == "dismissed"
    for path in (f"/ogc/jobs/{job_id}", f"/ogc/jobs/{job_id}/results", f"/v1/jobs/{job_id}"):
        assert client.get(path).status_code == 410
    assert client.delete(f"/ogc/jobs/{job_id}").status_code == 410
    listed = [job["jobID"] for job in client.get("/ogc/jobs", params={"limit": 100}).json()["jobs"]]
    assert job_id not in listed


def test_who_waits_too_long_gets_the_job(client: httpx.Client) -> None:
    body = {"inputs": inputs(num_inference_steps=60, num_images=8)}
    answer = execute(client, body, Prefer="wait=0")
    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"/ogc/jobs/{answer.json()['jobID']}")
    late = execute(client, body, Prefer="wait=1")
    assert (late.status_code, late.headers["preference-applied"]) == (201, "wait=1")
    for found in (answer, late):
        client.delete(f"/ogc/jobs/{found.json()['jobID']}")


def test_the_list_of_jobs(client: httpx.Client, ended: dict[str, Any]) -> None:
    def listed(**query: Any) -> list[str]:
        page = standard.checked(standard.JOB_LIST, client.get("/ogc/jobs", params=query).json())
        return [job["jobID"] for job in page["jobs"]]

    created = ended["created_at"]
    assert ended["id"] in listed(limit=200)
    assert listed(datetime=created) == [ended["id"]]
    assert listed(datetime=f"{created}/..")[-1] == ended["id"]
    assert ended["id"] in listed(datetime=f"../{created}", limit=200)
    assert ended["id"] not in listed(datetime=f"../{created[:10]}T00:00:00Z", limit=200)
    assert ended["id"] in listed(status="successful", type="process", processID="earthsynth", limit=200)
    assert ended["id"] not in listed(status=["failed", "running"], limit=200)
    assert listed(type="other") == listed(processID="other") == []
    assert ended["id"] in listed(minDuration=0, maxDuration=600, limit=200)
    assert ended["id"] not in listed(minDuration=600, limit=200)
    pages: list[str] = []
    href = "/ogc/jobs?limit=1&status=successful"
    while href:
        page = client.get(href).json()
        pages += [job["jobID"] for job in page["jobs"]]
        href = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
    assert pages == listed(status="successful", limit=200)
    for query in (
        {"datetime": "yesterday"},
        {"datetime": "a/b/c"},
        {"status": "done"},
        {"limit": 0},
        {"cursor": "x"},
    ):
        assert client.get("/ogc/jobs", params=query).status_code == 422, query


def test_other_kinds_of_jobs_are_not_the_processs(client: httpx.Client) -> None:
    dataset = client.post("/v1/datasets", json=asked(mask_set(client, 1), samples_per_mask=1)).json()["id"]
    assert client.get(f"/ogc/jobs/{dataset}").json()["code"] == "no_such_job"
    assert dataset not in [job["jobID"] for job in client.get("/ogc/jobs?limit=200").json()["jobs"]]
    job_end(client, dataset)


def test_tenants(guarded: GuardedService) -> None:
    with guarded.client("acme") as acme, guarded.client("zenith") as zenith, guarded.client() as nobody:
        own = base64.b64encode(png(np.roll(road_and_buildings(64), 3, axis=1))).decode()
        job = execute(acme, {"inputs": inputs(mask=own)}, **ASYNC).json()["jobID"]
        assert zenith.get(f"/ogc/jobs/{job}").json()["code"] == "no_such_job"
        assert job not in [one["jobID"] for one in zenith.get("/ogc/jobs?limit=200").json()["jobs"]]
        stored = acme.get(f"/v1/jobs/{job}").json()["request"]["mask_id"]
        foreign = execute(zenith, {"inputs": QUICK | {"mask": {"href": stored}}}, **ASYNC)
        assert (foreign.status_code, foreign.json()["code"]) == (404, "mask_not_found")
        assert zenith.delete(f"/ogc/jobs/{job}").status_code == 404
        for path in ("/ogc/jobs", f"/ogc/jobs/{job}", f"/ogc/jobs/{job}/results"):
            assert nobody.get(path).status_code == 401
        assert execute(nobody, {"inputs": {}}).status_code == 401
        assert acme.get(f"/ogc/jobs/{job}").json()["status"] == "accepted"


def test_a_failed_job_answers_its_problem(service: LocalStack, client: httpx.Client) -> None:
    job_id = execute(client, {"inputs": inputs(num_inference_steps=60, num_images=8)}, **ASYNC).json()[
        "jobID"
    ]
    config = settings_of(service)
    store, storage = Store(connect(config)), Storage(config)
    job = store.load(job_id)
    assert job is not None
    end(store, storage, job, JobStatus.FAILED, error=JobError(code="out_of_memory", detail="Too large."))
    status = client.get(f"/ogc/jobs/{job_id}").json()
    assert (status["status"], status["message"]) == ("failed", "Too large.")
    answer = client.get(f"/ogc/jobs/{job_id}/results")
    problem = standard.checked(standard.EXCEPTION, answer.json())
    assert (answer.status_code, problem["code"]) == (500, "out_of_memory")


def test_links_are_never_a_strangers_word() -> None:
    """H15: beyond loopback they come from the settings, or are relative; a Host field has no say."""

    def link_of(**settings: Any) -> str:
        app: Any = SimpleNamespace(
            state=SimpleNamespace(resources=SimpleNamespace(settings=Settings(**settings)))
        )
        scope = {"type": "http", "app": app, "scheme": "http", "server": ("127.0.0.1", 8000), "path": "/"}
        return url(Request(scope | {"headers": [(b"host", b"evil.example")]}), "/jobs")

    elsewhere = "192.0.2.7"
    assert (
        link_of(host=elsewhere, public_url="https://pictures.example/") == "https://pictures.example/ogc/jobs"
    )
    assert link_of(host=elsewhere) == "/ogc/jobs"
    assert link_of() == "http://evil.example/ogc/jobs"  # on loopback HostCheck has refused other names before
