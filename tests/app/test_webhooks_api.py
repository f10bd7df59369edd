"""/v1/webhooks and a job's deliveries, in an API process whose resolver knows public addresses only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.auth import Caller, caller
from app.dependencies import AppResources
from app.main import create_app
from tests.pictures import png, road_and_buildings
from tests.receivers import answer, receiver
from tests.worker.sending import accepted, finished, open_settings
from tests.worker.test_webhook_urls import NAMES, PUBLIC, REFUSED, names
from worker.api_keys import Scope
from worker.deliveries import webhook_id
from worker.layout import ENDPOINT_ID
from worker.results import read_request
from worker.settings import Settings
from worker.storage import Storage
from worker.store import Store
from worker.webhook_endpoints import change, disabled, endpoint_id
from worker.webhook_intake import WebhookIntake
from worker.webhook_specs import ALL_EVENTS, WebhookEvent

URL = "https://hooks.example.com/a?b=1"
EVENTS = [event.value for event in ALL_EVENTS]


def resolving(client: TestClient, *addresses: str) -> TestClient:
    """The client's API process with a resolver that knows these addresses of every name."""
    state: Any = client.app.state  # type: ignore[attr-defined]
    found: AppResources = state.resources
    webhooks = WebhookIntake(found.intake.storage, found.webhooks.rules, names(*addresses))
    intake = dataclasses.replace(found.intake, webhooks=webhooks)
    state.resources = dataclasses.replace(found, intake=intake, webhooks=webhooks)
    return client


def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(
        create_app(settings), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as client:
        yield resolving(client, PUBLIC)


@pytest.fixture
def strict(settings: Settings, storage: Storage) -> Iterator[TestClient]:
    """An API that calls public addresses only."""
    own = {
        "webhook_own_hosts": "api.earthsynth.example,synth.example.net,*.inside.example.net",
        "s3_public_endpoint": "https://objects.example.net",
    }
    yield from api(Settings(**(settings.model_dump() | own)))


@pytest.fixture
def local(settings: Settings, storage: Storage) -> Iterator[TestClient]:
    """An API that may call receivers on loopback."""
    yield from api(open_settings(settings))


@pytest.fixture
def as_other(request: pytest.FixtureRequest) -> Any:
    """Makes a client's requests those of another tenant, until the test ends."""

    def switch(client: TestClient, name: str | None) -> None:
        overrides: Any = client.app.dependency_overrides  # type: ignore[attr-defined]
        overrides.clear()
        if name:
            overrides[caller] = lambda: Caller(name, "key", frozenset({Scope.ADMIN}))

    return switch


def register(client: TestClient, url: str = URL, **more: Any) -> dict[str, Any]:
    found = client.post("/v1/webhooks", json={"url": url, **more})
    assert found.status_code == 201, found.text
    body: dict[str, Any] = found.json()
    return body


def test_an_endpoint_from_its_registration_to_its_end(strict: TestClient) -> None:
    made = register(strict, description="mine")
    assert ENDPOINT_ID.fullmatch(made["id"])
    assert made["id"] == endpoint_id("local", URL), "it follows from tenant and URL"
    assert made["secret"].startswith("whsec_")
    assert (made["url"], made["events"], made["description"]) == (URL, EVENTS, "mine")
    assert (made["enabled"], made["disabled_reason"]) == (True, None)

    again = strict.post(
        "/v1/webhooks", json={"url": URL.upper().replace("/A?B", "/a?b"), "events": ["job.failed"]}
    )
    assert again.status_code == 200, "the same in another spelling"
    assert (again.json()["id"], again.json()["events"]) == (made["id"], ["job.failed"])
    assert again.json()["secret"] is None

    path = f"/v1/webhooks/{made['id']}"
    shown = strict.get(path)
    assert "secret" not in shown.json()
    assert shown.json()["events"] == ["job.failed"]
    secret = strict.get(f"{path}/secret").json()
    assert secret == {"secret": made["secret"], "previous": None, "previous_expires_at": None}
    rotated = strict.post(f"{path}/rotate-secret").json()
    secret = strict.get(f"{path}/secret").json()
    assert (secret["secret"], secret["previous"]) == (rotated["secret"], made["secret"])
    assert rotated["secret"] != made["secret"]

    assert strict.delete(path).status_code == 204
    for gone in (strict.get(path), strict.delete(path), strict.get(f"{path}/secret")):
        assert (gone.status_code, gone.json()["code"]) == (404, "webhook_not_found")
    assert strict.get("/v1/webhooks").json() == {"items": [], "next_cursor": None}
    assert register(strict)["secret"] not in {made["secret"], rotated["secret"]}


def test_the_list_has_pages_newest_first(strict: TestClient) -> None:
    ids = [register(strict, f"https://hooks.example.com/{number}")["id"] for number in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        page = strict.get("/v1/webhooks", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ids[::-1]
    assert cursor is None
    assert strict.get("/v1/webhooks", params={"cursor": "x"}).json()["code"] == "invalid_cursor"


def test_a_disabled_endpoint_says_why_and_can_be_enabled(strict: TestClient, storage: Storage) -> None:
    made = register(strict)
    change(storage, "local", made["id"], lambda known: disabled(known, "The receiver answered 410."))
    path = f"/v1/webhooks/{made['id']}"
    shown = strict.get(path).json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "The receiver answered 410.")
    assert strict.post(f"{path}/enable").json()["enabled"] is True
    assert strict.get(path).json()["disabled_reason"] is None


@pytest.mark.parametrize(("row", "url"), REFUSED, ids=[f"{row}-{url[:50]!r}" for row, url in REFUSED])
def test_u_and_j58_are_refused_with_422(shared: TestClient, row: str, url: str) -> None:
    """J58 speaks of `callback_url`; in api.md, which goes before it, that is `webhook.url` of every create."""
    for path, body, pointer in (
        ("/v1/webhooks", {"url": url}, "/url"),
        ("/v1/webhooks/test", {"url": url}, "/url"),
        ("/v1/generations", {"mask_id": mask_of(shared), "webhook": {"url": url}}, "/webhook/url"),
    ):
        refused = shared.post(path, json=body)
        assert refused.status_code == 422, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] in {"url_not_allowed", "credentials_in_url"}
        assert refused.json()["errors"][0]["pointer"] == pointer
    assert shared.get("/v1/webhooks").json()["items"] == []


@pytest.fixture(scope="module")
def shared(servers: Any) -> Iterator[TestClient]:
    """A strict API for many refusals."""
    from tests.conftest import settings_of

    own = {
        "webhook_own_hosts": "api.earthsynth.example,synth.example.net,*.inside.example.net",
        "s3_public_endpoint": "https://objects.example.net",
    }
    yield from api(settings_of(servers, s3_bucket="webhook-refusals", **own))


MASKS: dict[int, str] = {}


def mask_of(client: TestClient) -> str:
    """A mask of that API's."""
    if id(client) not in MASKS:
        kept = client.post("/v1/masks", files={"file": ("mask.png", png(road_and_buildings(256)))})
        MASKS[id(client)] = kept.json()["id"]
    return MASKS[id(client)]


@pytest.mark.parametrize(("row", "found"), NAMES, ids=[f"{row}-{'+'.join(found)}" for row, found in NAMES])
def test_u_names_by_their_addresses(strict: TestClient, row: str, found: list[str]) -> None:
    refused = resolving(strict, *found).post("/v1/webhooks", json={"url": URL})
    assert (refused.status_code, refused.json()["code"]) == (422, "url_not_allowed")


def test_u64_two_tenants_may_have_one_receiver_and_learn_nothing_of_each_other(
    strict: TestClient, as_other: Any
) -> None:
    """The table refuses another tenant's webhook as an own host: its URL here is one of ours, see REFUSED.

    The receiver that another tenant has is a new endpoint here, with a secret of its own.
    """
    mine = register(strict)
    as_other(strict, "other")
    theirs = register(strict)
    assert mine["id"] != theirs["id"]
    assert mine["secret"] != theirs["secret"]


def test_u59_imports_have_no_url(shared: TestClient) -> None:
    for path in ("/v1/mask-sets", "/v1/training-sets"):
        refused = shared.post(path, json={"prefix": "s3://other-bucket/key"})
        assert refused.status_code == 422
        refused = shared.post(path, json={"url": "https://hooks.example.com/masks.zip"})
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_field")


@pytest.mark.parametrize("events", [["job.exploded"], [], ["job.started"] * 1000, "job.started", [1]])
def test_j59_events_that_there_are_not(shared: TestClient, events: object) -> None:
    for path, body in (
        ("/v1/webhooks", {"url": URL, "events": events}),
        ("/v1/generations", {"mask_id": mask_of(shared), "webhook": {"url": URL, "events": events}}),
    ):
        assert shared.post(path, json=body).status_code == 422


@pytest.mark.parametrize(
    "body", [{}, {"url": URL, "endpoint_id": "whk_1"}, {"url": URL, "more": 1}, {"url": 1}]
)
def test_a_call_names_one_receiver(shared: TestClient, body: dict[str, object]) -> None:
    assert shared.post("/v1/webhooks/test", json=body).status_code == 422


def test_a_test_call_says_what_came_back(local: TestClient) -> None:
    with receiver(answer(200)) as found:
        said = local.post("/v1/webhooks/test", json={"url": found.url}).json()
        secret = local.get(f"/v1/webhooks/{said['endpoint_id']}/secret").json()["secret"]
        (call,) = found.calls
        assert (said["delivered"], said["status"], said["error"]) == (True, 200, None)
        assert call.webhook_id == said["webhook_id"]
        assert call.verified(secret)["type"] == "webhook.test"
        found.behaviour = answer(302, "Location: https://example.com/", body=b"secret inside")
        refused = local.post("/v1/webhooks/test", json={"endpoint_id": said["endpoint_id"]})
        assert (refused.json()["delivered"], refused.json()["error"]) == (False, "redirect")
        assert "inside" not in refused.text, "a receiver's text could be that of an inner server"
    listed = local.get("/v1/webhooks").json()["items"]
    assert [(item["id"], item["events"]) for item in listed] == [(said["endpoint_id"], [])]
    absent = local.post("/v1/webhooks/test", json={"endpoint_id": "whk_" + "0" * 26})
    assert (absent.status_code, absent.json()["code"]) == (404, "webhook_not_found")


def generation(client: TestClient, **more: Any) -> dict[str, Any]:
    mask = client.post("/v1/masks", files={"file": ("mask.png", png(road_and_buildings(256)))}).json()["id"]
    found = client.post("/v1/generations", json={"mask_id": mask, **more})
    assert found.status_code == 202, found.text
    body: dict[str, Any] = found.json()
    return body


def test_a_job_keeps_who_is_told_of_it(strict: TestClient, storage: Storage) -> None:
    job = generation(strict, webhook={"url": URL})
    assert job["request"]["webhook"] == {"url": URL, "events": EVENTS}
    kept = read_request(storage, "local", job["id"])
    assert kept is not None
    (one,) = kept.webhooks
    assert (one.endpoint_id, one.events) == (endpoint_id("local", URL), ALL_EVENTS)
    listed = strict.get("/v1/webhooks").json()["items"]
    assert [(item["id"], item["events"]) for item in listed] == [(one.endpoint_id, [])], (
        "for single jobs only"
    )
    assert strict.get(f"/v1/webhooks/{one.endpoint_id}/secret").json()["secret"].startswith("whsec_")

    everything = register(strict, "https://hooks.example.com/all", events=["job.failed"])
    both = generation(strict, webhook={"url": URL, "events": ["job.started"]})
    kept = read_request(storage, "local", both["id"])
    assert kept is not None
    assert {(told.endpoint_id, told.events) for told in kept.webhooks} == {
        (one.endpoint_id, (WebhookEvent.JOB_STARTED,)),
        (everything["id"], (WebhookEvent.JOB_FAILED,)),
    }


def test_a_form_may_name_a_webhook_too(strict: TestClient, storage: Storage) -> None:
    files = {"mask": ("mask.png", png(road_and_buildings(256)))}
    made = strict.post("/v1/generations", files=files, data={"webhook": '{"url": "' + URL + '"}'})
    assert made.status_code == 202
    assert made.json()["request"]["webhook"]["url"] == URL


def test_a_known_endpoint_is_not_looked_up_again(strict: TestClient) -> None:
    register(strict)
    job = generation(resolving(strict), webhook={"url": URL})  # now no name has an address
    assert job["warnings"] == [] or "webhook" not in " ".join(job["warnings"])
    refused = strict.post("/v1/webhooks", json={"url": "https://other.example.com/"})
    assert refused.json()["code"] == "url_not_allowed"


def test_a_disabled_endpoint_is_a_warning_of_the_job(strict: TestClient, storage: Storage) -> None:
    made = register(strict)
    change(storage, "local", made["id"], lambda known: disabled(known, "It answered 410."))
    job = generation(strict, webhook={"url": URL})
    assert any("It answered 410." in warning and made["id"] in warning for warning in job["warnings"])


def test_deliveries_of_a_job_and_their_repetition(
    strict: TestClient, store: Store, storage: Storage, as_other: Any
) -> None:
    job = accepted(store, storage, URL)
    finished(store, storage, job)
    page = strict.get(f"/v1/jobs/{job.id}/deliveries").json()
    events = {item["event"]: item for item in page["items"]}
    assert events.keys() == {"job.started", "job.succeeded"}
    one = events["job.succeeded"]
    assert one["webhook_id"] == webhook_id(job.id, WebhookEvent.JOB_SUCCEEDED)
    assert (one["status"], one["attempts"], one["error"]) == ("pending", [], None)
    assert one["next_try_at"] is not None
    first = strict.get(f"/v1/jobs/{job.id}/deliveries", params={"limit": 1}).json()
    rest = strict.get(f"/v1/jobs/{job.id}/deliveries", params={"cursor": first["next_cursor"]}).json()
    assert [*first["items"], *rest["items"]] == page["items"]

    path = f"/v1/jobs/{job.id}/deliveries/{one['id']}/redeliver"
    assert strict.post(path).status_code == 202
    absent = strict.post(f"/v1/jobs/{job.id}/deliveries/dlv_{'0' * 26}/redeliver")
    assert (absent.status_code, absent.json()["code"]) == (404, "delivery_not_found")
    strict.delete(f"/v1/webhooks/{one['endpoint_id']}")
    assert (strict.post(path).status_code, strict.post(path).json()["code"]) == (409, "webhook_deleted")
    as_other(strict, "other")
    for found in (strict.get(f"/v1/jobs/{job.id}/deliveries"), strict.post(path)):
        assert (found.status_code, found.json()["code"]) == (404, "job_not_found")


def test_i61_another_tenants_endpoint_is_an_absent_one(strict: TestClient, as_other: Any) -> None:
    made = register(strict)
    as_other(strict, "other")

    def asked(wanted: str) -> list[Any]:
        path = f"/v1/webhooks/{wanted}"
        answers = [
            strict.get(path),
            strict.get(f"{path}/secret"),
            strict.post(f"{path}/rotate-secret"),
            strict.post(f"{path}/enable"),
            strict.post("/v1/webhooks/test", json={"endpoint_id": wanted}),
            strict.delete(path),
        ]
        changing = {"instance", "request_id"}
        return [
            (one.status_code, {name: value for name, value in one.json().items() if name not in changing})
            for one in answers
        ]

    assert asked(made["id"]) == asked("whk_" + "0" * 26)
    assert {status for status, _ in asked(made["id"])} == {404}
    assert strict.get("/v1/webhooks").json()["items"] == []
    as_other(strict, None)
    assert strict.get(f"/v1/webhooks/{made['id']}/secret").json()["secret"] == made["secret"], (
        "nothing changed"
    )


def test_so_many_endpoints_may_hear_of_everything(
    strict: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.webhook_endpoints.MAX_SUBSCRIPTIONS", 2)
    for number in range(2):
        register(strict, f"https://hooks.example.com/{number}")
    refused = strict.post("/v1/webhooks", json={"url": URL})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_webhooks")
    assert strict.post("/v1/webhooks", json={"url": "https://hooks.example.com/1"}).status_code == 200


def test_a_dry_run_checks_the_webhook_and_keeps_nothing(strict: TestClient) -> None:
    mask = mask_of(strict)
    body = {"mask_id": mask, "validate_only": True}
    checked = strict.post("/v1/generations", json=body | {"webhook": {"url": URL}})
    assert (checked.status_code, checked.json()["request"]["webhook"]["url"]) == (200, URL)
    refused = strict.post("/v1/generations", json=body | {"webhook": {"url": "https://10.0.0.1/"}})
    assert (refused.status_code, refused.json()["code"]) == (422, "url_not_allowed")
    assert strict.get("/v1/webhooks").json()["items"] == []


def test_a_rotation_that_is_sent_again_is_done_once(strict: TestClient) -> None:
    path = f"/v1/webhooks/{register(strict)['id']}"
    key = {"Idempotency-Key": "rotate-1"}
    first = strict.post(f"{path}/rotate-secret", headers=key)
    again = strict.post(f"{path}/rotate-secret", headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.json() == again.json()
    assert strict.get(f"{path}/secret").json()["secret"] == first.json()["secret"]


def test_a_key_that_may_only_read_sees_no_secret(strict: TestClient) -> None:
    path = f"/v1/webhooks/{register(strict)['id']}"
    overrides: Any = strict.app.dependency_overrides  # type: ignore[attr-defined]
    overrides[caller] = lambda: Caller("local", "key", frozenset({Scope.READ}))
    assert strict.get(path).status_code == 200
    for refused in (
        strict.get(f"{path}/secret"),
        strict.post(f"{path}/rotate-secret"),
        strict.post("/v1/webhooks", json={"url": URL}),
        strict.post("/v1/webhooks/test", json={"url": URL}),
        strict.delete(path),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
