"""GET /metrics on the real service, read by Prometheus' own parser."""

from __future__ import annotations

import time
from collections import Counter

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import GuardedService, settings_of
from tests.pictures import OFF, png, road_and_buildings
from tests.waiting import until
from worker.api_keys import Scope, create_key

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(client: httpx.Client) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


def test_requests_are_counted_by_route_and_refusals_by_code(guarded: GuardedService) -> None:
    with guarded.client("acme") as acme:
        before = samples(acme)
        for _ in range(3):
            acme.get("/v1/jobs", params={"limit": 1}).raise_for_status()
            assert acme.get("/v1/jobs/job_absent").status_code == 404
        assert acme.get("/v1/jobs", params={"limit": 0}).status_code == 422
        assert acme.get("/nowhere").status_code == 404
        assert acme.request("PROPFIND", "/v1/jobs").status_code == 405
        assert acme.get(f"/{'a' * 9000}").status_code == 414  # by the web server, before any of this
        after = samples(acme)

    def risen(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    total = "earthsynth_http_requests_total"
    assert risen(total, method="GET", route="/v1/jobs", status="200") == 3
    assert risen(total, method="GET", route="/v1/jobs", status="422") == 1
    assert risen(total, method="GET", route="/v1/jobs/{job_id}", status="404") == 3
    assert risen(total, method="GET", route="", status="404") == 1, (
        "paths that strangers make up are one series"
    )
    assert risen(total, method="other", route="/v1/jobs", status="405") == 1, "so are methods"
    refusals = {
        code: risen("earthsynth_http_refusals_total", code=code)
        for code in ("job_not_found", "out_of_range", "not_found", "method_not_allowed", "uri_too_long")
    }
    once = {"out_of_range": 1, "not_found": 1, "method_not_allowed": 1, "uri_too_long": 1}
    assert refusals == {"job_not_found": 3} | once
    seconds = "earthsynth_http_response_seconds"
    assert risen(f"{seconds}_count", method="GET", route="/v1/jobs") == 4
    assert risen(f"{seconds}_bucket", method="GET", route="/v1/jobs", le="+Inf") == 4
    assert 0 < risen(f"{seconds}_sum", method="GET", route="/v1/jobs") < 10
    assert not any(name.endswith("_created") for name, _ in after)


def test_what_waits_is_counted_and_no_tenant_is_named(guarded: GuardedService) -> None:
    with guarded.client("acme") as acme, guarded.client("zenith") as zenith:
        before = samples(acme)
        jobs = [
            (client, client.post("/v1/generations", files={"mask": png(road_and_buildings())}).json()["id"])
            for client in (acme, zenith, acme)
        ]
        time.sleep(0.3)
        after = samples(acme)
        named = acme.get("/metrics").text
        for client, job_id in jobs:
            client.delete(f"/v1/jobs/{job_id}").raise_for_status()
        entries = "earthsynth_queue_entries"
        assert value(after, entries, queue="generation") - value(before, entries, queue="generation") == 3
        assert value(after, "earthsynth_queue_oldest_seconds", queue="generation") >= 0.3
        assert value(after, "earthsynth_queue_oldest_seconds", queue="training") == 0
        assert value(after, "earthsynth_part_up", part="redis") == 1
        assert value(after, "earthsynth_part_up", part="storage") == 1
        assert not any(word in named for word in ("acme", "zenith", "job_01"))
        until(
            lambda: (
                value(samples(acme), entries, queue="generation")
                == value(before, entries, queue="generation")
            )
        )


def test_who_waits_for_a_job_is_not_slow(client: httpx.Client) -> None:
    """The workers are told apart, and a request that asked to wait is counted without its time."""
    before = samples(client)
    made = client.post(
        "/v1/generations",
        params={"wait": 60},
        files={"mask": png(road_and_buildings())},
        data={"width": "64", "height": "64", "num_inference_steps": "2", "filter": OFF},
    )
    assert made.status_code == 200, made.text
    after = samples(client)
    labels = {"method": "POST", "route": "/v1/generations"}
    counts = [value(one, "earthsynth_http_requests_total", status="200", **labels) for one in (before, after)]
    assert counts[1] - counts[0] == 1
    timed = [value(one, "earthsynth_http_response_seconds_count", **labels) for one in (before, after)]
    assert timed[0] == timed[1]
    workers = Counter((one["queue"], one["status"]) for one in client.get("/v1/workers").json()["items"])
    found = {
        (dict(labels)["queue"], dict(labels)["status"]): count
        for (name, labels), count in samples(client).items()
        if name == "earthsynth_workers"
    }
    assert sum(found.values()) == sum(workers.values()) == 2
    assert found["webhook", "ready"] == 1


@pytest.mark.parametrize("scopes", [[Scope.READ], [Scope.WRITE, Scope.TRAIN]])
def test_it_needs_the_scope_admin_where_keys_are_needed(guarded: GuardedService, scopes: list[Scope]) -> None:
    key, _ = create_key(guarded.storage, tenant="acme", name="scraper", scopes=scopes)
    with guarded.client(key=key) as found, guarded.client() as nobody:
        refused = found.get("/metrics")
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
        assert nobody.get("/metrics").json()["code"] == "missing_key"
    assert settings_of(guarded.stack).on_loopback
