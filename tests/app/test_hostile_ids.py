"""Odd and hostile ids, names, cursors and query parameters: each is absent, like one that never was.

Ids are those of the catalogue of hostile inputs. Ids of other tenants are in test_other_tenants.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests.app.hostile import ABSENT_JOB, BASE64, Guest, guest_of
from tests.app.raw_http import Answer, ask, request
from tests.conftest import GuardedService, settings_of
from worker.redis_client import connect


@pytest.fixture(scope="module")
def guest(guarded: GuardedService) -> Iterator[Guest]:
    with guest_of(guarded, "hostile-ids") as found:
        yield found


@pytest.fixture(scope="module")
def redis(guarded: GuardedService) -> Iterator[Redis]:
    """The service's Redis, in which nothing has changed afterwards but what jobs are made of."""
    found = connect(settings_of(guarded.stack))
    found.set("canary", "alive")
    yield found
    assert found.get("canary") == b"alive"
    assert not [key for key in found.scan_iter("*") if b"evil" in key or b"abc" in key]
    found.close()


@pytest.fixture(scope="module")
def paths(guest: Guest) -> list[tuple[str, str, str]]:
    """Method, path with one hole, and the code of absence, of every operation that takes an id."""
    document = guest.client.get("/openapi.json").json()
    found = []
    for path, operations in document["paths"].items():
        if path.count("{") != 1:
            continue
        for method, operation in operations.items():
            found.append((method.upper(), path, json.dumps(operation.get("requestBody", {}))))
    assert len(found) >= 15
    return found


def good_body(path: str) -> dict[str, Any] | None:
    """A body that is not refused before the id is looked for."""
    bodies: dict[str, dict[str, Any]] = {
        "refilter": {},
        "execution": {"inputs": {}},
        "exports": {"format": "coco"},
        "promote": {"version": "1"},
    }
    return bodies.get(path.rpartition("/")[2])


# As they stand in the path, percent-encoded where a client must
IDS: list[tuple[str, str]] = [
    ("I03", ABSENT_JOB),
    ("I05-mask", "msk_" + "0" * 64),
    ("I05-set", "mset_" + "0" * 64),
    ("I05-training-set", "tset_" + "0" * 64),
    ("I05-key", "key_" + "0" * 26),
    ("I07-upper", ABSENT_JOB.upper()),
    ("I07-short", ABSENT_JOB[:-1]),
    ("I07-long", ABSENT_JOB + "0"),
    ("I07-letters", "job_" + "i" * 26),
    ("I07-digits", "job_" + "%D9%A0" * 26),  # Arabic zeros
    ("I07-line", ABSENT_JOB + "%0a"),
    ("I07-space", ABSENT_JOB + "%20"),
    ("I11-semicolon", "..;x"),
    ("I11-backslash", "..%5cx"),
    ("I11-overlong", "..%c0%af"),
    ("I11-dots", "%2e%2e"),
    ("I13-drive", "C:%5c"),
    ("I14-nul", "%00"),
    ("I14-suffix", ABSENT_JOB + "%00.json"),
    ("I15", "%0d%0aSet-Cookie:%20a=b"),
    ("I18", "%ff%fe"),
    ("I19-percent", "%"),
    ("I19-one", "%2"),
    ("I19-letters", "%zz"),
    ("I20", "a" * 7_000),
    ("I22-star", "*"),
    ("I22-question", "%3f"),
    ("I22-class", "[a-z]"),
    ("I22-all", "rq:*"),
    ("I22-command", "KEYS"),
    ("I23-job", "rq:job:abc"),
    ("I23-queue", "rq:queue:generation"),
    ("I23-tag", "{tag}"),
    ("I23-record", "es:job:abc"),
    ("I24", "%0d%0aFLUSHALL%0d%0a"),
    ("I24-resp", "*1%0d%0a$8%0d%0aFLUSHALL%0d%0a"),
    ("I25-proto", "__proto__"),
    ("I25-constructor", "constructor"),
    ("I25-self", "self"),
    ("I25-meta", "_meta"),
    ("I26-script", "%3Cscript%3E"),
    ("I26-image", "%22%3E%3Cimg%20onerror=x%3E"),
    ("I26-template", "%7B%7B7*7%7D%7D"),
    ("I26-dollar", "$%7Bx%7D"),
    ("I27-sql", "'%20OR%201=1--"),
    ("I27-shell", ";%20rm%20-rf"),
    ("I27-subshell", "$(id)"),
    ("I27-backticks", "%60id%60"),
    ("I27-pipe", "%7C"),
    ("I36-at", "org@main"),
    ("I37", "runwayml"),
    ("I38-latest", "nano@latest"),
    ("I38-v0", "nano@v0"),
    ("I38-0", "nano@0"),
    ("I38-hash", "nano@" + "a" * 64),
    ("I38-empty", "nano@"),
    ("I38-two", "nano@2@2"),
    ("I39-case", "Nano"),
    ("I39-unicode", "n%CE%B1no"),  # with a Greek letter
    ("I39-full-width", "%EF%BD%8E%EF%BD%81%EF%BD%8E%EF%BD%8F"),
    ("I39-space", "nano%20"),
    ("I63", "es_" + "0" * 26),
]


@pytest.mark.parametrize("given", [pytest.param(made, id=row) for row, made in IDS])
def test_an_id_that_is_none_is_absent(
    guest: Guest, redis: Redis, paths: list[tuple[str, str, str]], given: str
) -> None:
    """Everywhere, with the body of an id that never was; only `instance` and `request_id` differ."""
    for method, path, _ in paths:
        hole = path[path.index("{") : path.index("}") + 1]
        absent = "absent-model" if hole == "{name}" else ABSENT_JOB
        answers = [_ask(guest, method, path, path.replace(hole, value)) for value in (given, absent)]
        for answer in answers:
            assert answer.status == 404, (method, path, answer)
        if hole != "{key}" or "%0" not in given:  # a key with a line break matches no route
            assert _same(answers[0], given) == _same(answers[1], absent), (method, path)
        assert "set-cookie" not in answers[0].headers
        assert len(answers[0].body) < 1_200


def _ask(guest: Guest, method: str, path: str, target: str) -> Answer:
    body = good_body(path)
    fields = [f"Authorization: Bearer {guest.key}"]
    if body is None:
        return ask(guest.guarded.stack.api_port, request(target, *fields, method=method))
    sent = json.dumps(body).encode()
    fields.append("Content-Type: application/json")
    return ask(guest.guarded.stack.api_port, request(target, *fields, method=method, body=sent))


def _same(answer: Answer, given: str) -> dict[str, Any]:
    """The problem without what is this request's own; a model's name, which its caller chose, is said back."""
    found = {name: value for name, value in answer.problem.items() if name not in {"instance", "request_id"}}
    if found["code"] == "unknown_model":
        found |= {"detail": found["detail"].partition("Offered: ")[2], "errors": []}
    return found


def test_paths_that_are_none(guest: Guest) -> None:
    """I06, I11, I13, I60: no route, and no redirect."""
    for target in (
        "/v1/jobs/",
        "/v1/jobs//",
        "/v1/jobs//results",
        "/v1/jobs/../models",
        "/v1/jobs/..%2fmodels",
        "/v1/jobs/file:///etc/passwd",
        "/v1/jobs/s3://other/key",
        "/v1/models/hf://evil/repo",
        "/v1/models/..%2f..%2fx",
        "/v1/models/%2fetc%2fpasswd",
        "/v1/tenants/acme/jobs",
        "/acme/v1/jobs",
        "/v1/jobs.json",
        "/V1/jobs",
        "/v1/jobs%00",
    ):
        answer = ask(guest.guarded.stack.api_port, request(target, f"Authorization: Bearer {guest.key}"))
        assert (answer.status, answer.code) == (404, "not_found"), target
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/v1/datasets/{}", "/v1/datasets/{}/samples", "/v1/datasets/{}/exports", "/v1/trainings/{}"]
)
def test_a_job_of_another_kind_is_absent(guest: Guest, path: str) -> None:
    """I05."""
    job = guest.post(json=guest.body()).json()["id"]
    answer, absent = (guest.client.get(path.format(value)).json() for value in (job, ABSENT_JOB))
    assert answer["status"] == 404
    assert answer["detail"] == absent["detail"]
    assert answer["code"] == absent["code"]


def test_own_job(guest: Guest) -> None:
    """I01, I33: the id is good, and cancelling may be repeated."""
    job = guest.post(json=guest.body()).json()
    assert guest.client.get(job["links"]["self"]).status_code == 200
    results = guest.client.get(job["links"]["results"])
    assert (results.status_code, results.json()) == (200, {"items": [], "next_cursor": None})


def training(set_id: str) -> dict[str, Any]:
    return {"training_set_id": set_id, "name": "x"}


BODY_IDS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("I03-mask", "/v1/generations", {"mask_id": "msk_" + "0" * 64}, 404, "mask_not_found"),
    ("I05-mask", "/v1/generations", {"mask_id": ABSENT_JOB}, 404, "mask_not_found"),
    ("I07-mask", "/v1/generations", {"mask_id": "msk_" + "A" * 64}, 404, "mask_not_found"),
    ("I14-mask", "/v1/generations", {"mask_id": "msk_" + "0" * 63 + "\0"}, 404, "mask_not_found"),
    ("I24-mask", "/v1/generations", {"mask_id": "\r\nFLUSHALL\r\n"}, 404, "mask_not_found"),
    ("I29-mask", "/v1/generations", {"mask_id": ["a"]}, 422, "invalid_request"),
    ("I29-object", "/v1/generations", {"mask_id": {"$ne": ""}}, 422, "invalid_request"),
    ("I36-path", "/v1/generations", {"model": "../../x", "mask": BASE64}, 422, "unknown_model"),
    ("I36-absolute", "/v1/generations", {"model": "/etc/passwd", "mask": BASE64}, 422, "unknown_model"),
    ("I36-hub", "/v1/generations", {"model": "hf://evil/repo", "mask": BASE64}, 422, "unknown_model"),
    ("I36-branch", "/v1/generations", {"model": "org/repo@main", "mask": BASE64}, 422, "unknown_model"),
    ("I37", "/v1/generations", {"model": "stable-diffusion-v1-5", "mask": BASE64}, 422, "unknown_model"),
    ("I38", "/v1/generations", {"model": "nano@latest", "mask": BASE64}, 422, "unknown_model"),
    (
        "I03-set",
        "/v1/datasets",
        {"masks": {"mask_set_id": "mset_" + "0" * 64}, "samples_per_mask": 1},
        404,
        "mask_set_not_found",
    ),
    (
        "I22-set",
        "/v1/datasets",
        {"masks": {"mask_set_id": "*"}, "samples_per_mask": 1},
        404,
        "mask_set_not_found",
    ),
    (
        "I03-masks",
        "/v1/datasets",
        {"masks": {"mask_ids": ["msk_" + "0" * 64]}, "samples_per_mask": 1},
        404,
        "mask_not_found",
    ),
    ("I03-pairs", "/v1/trainings", training("tset_" + "0" * 64), 404, "training_set_not_found"),
    ("I11-pairs", "/v1/trainings", training("../x"), 404, "training_set_not_found"),
]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"), [pytest.param(*made, id=row) for row, *made in BODY_IDS]
)
def test_ids_in_bodies(
    guest: Guest, redis: Redis, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = guest.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


PREFIXES: list[tuple[str, str]] = [
    ("I44-empty", ""),
    ("I44-slash", "/"),
    ("I44-slashes", "//"),
    ("I44-star", "*"),
    ("I45-1025", "x" * 1025),
    ("I46-double", "a//b"),
    ("I46-dot", "./a"),
    ("I46-dots", "../acme/imports/a"),
    ("I46-within", "a/../../acme"),
    ("I46-leading", "/a"),
    ("I46-line", "a\nb"),
    ("I46-nul", "a\0b"),
]


@pytest.mark.parametrize("prefix", [pytest.param(made, id=row) for row, made in PREFIXES])
@pytest.mark.parametrize("path", ["/v1/mask-sets", "/v1/training-sets"])
def test_prefixes(guest: Guest, path: str, prefix: str) -> None:
    answer = guest.post(path, json={"prefix": prefix})
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in {
        "invalid_request",
        "invalid_text",
        "empty_import",
        "mask_missing",
        "pairs_missing",
    }


QUERIES: list[tuple[str, str, int, str]] = [
    ("I29-brackets", "/v1/jobs?id[]=1", 422, "unknown_field"),
    ("I29-twice", "/v1/jobs?limit=1&limit=2", 422, "repeated_field"),
    ("I32-minus", "/v1/jobs?limit=-1", 422, "out_of_range"),
    ("I32-0", "/v1/jobs?limit=0", 422, "out_of_range"),
    ("I32-201", "/v1/jobs?limit=201", 422, "out_of_range"),
    ("I32-half", "/v1/jobs?limit=1.5", 422, "invalid_request"),
    ("I32-10**400", f"/v1/jobs?limit={10**400}", 422, "out_of_range"),
    ("I32-digits", f"/v1/jobs?limit={'1' * 5000}", 422, "invalid_request"),
    ("I32-arabic", "/v1/jobs?limit=%D9%A3", 422, "invalid_request"),
    ("I57-unknown", "/v1/jobs?stauts=running", 422, "unknown_field"),
    ("I58", "/v1/jobs?sort=created_at", 422, "unknown_field"),
    ("I58-secret", "/v1/jobs?sort=tenant", 422, "unknown_field"),
    ("I56-cursor", "/v1/jobs?cursor=x", 422, "invalid_cursor"),
    ("I56-empty", "/v1/jobs?cursor=", 422, "invalid_cursor"),
    ("I56-nul", f"/v1/jobs?cursor={ABSENT_JOB}%00", 422, "invalid_cursor"),
    ("I22-cursor", "/v1/jobs?cursor=*", 422, "invalid_cursor"),
    ("I56-id", f"/v1/jobs?cursor={ABSENT_JOB}", 422, "invalid_cursor"),
    ("I56-long", f"/v1/jobs?cursor={'a' * 201}", 422, "invalid_request"),
    ("I57-word", "/v1/jobs?status=x", 422, "invalid_request"),
    ("I57-twice", "/v1/jobs?status=running&status=queued", 422, "repeated_field"),
    ("I57-kind", "/v1/jobs?kind=../x", 422, "invalid_request"),
    ("I59-0000", "/v1/usage?from=0000-01-01", 422, "invalid_request"),
    ("I59-0001", "/v1/usage?from=0001-01-01", 422, "invalid_period"),
    ("I59-offset", "/v1/usage?from=2026-01-01T00:00:00%2B14:00", 422, "invalid_request"),
    ("I59-seconds", "/v1/usage?to=0", 422, "invalid_request"),
    ("I59-first", "/v1/usage?to=0001-01-01", 422, "invalid_period"),
    ("I59-leap-second", "/v1/usage?from=2016-12-31T23:59:60Z", 422, "invalid_request"),
    ("I59-february", "/v1/usage?from=2026-02-30", 422, "invalid_request"),
    ("I59-5-digits", "/v1/usage?to=10000-01-01", 422, "invalid_request"),
    ("I59-number", f"/v1/usage?to={10**30}", 422, "invalid_request"),
    ("I59-backwards", "/v1/usage?from=2026-01-02&to=2026-01-01", 422, "invalid_period"),
]


@pytest.mark.parametrize(("path", "status", "code"), [pytest.param(*made, id=row) for row, *made in QUERIES])
def test_queries(guest: Guest, path: str, status: int, code: str) -> None:
    answer = guest.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_days_at_the_ends_of_time(guest: Guest) -> None:
    """I59."""
    for query in (
        "to=9999-12-31",
        "from=9999-12-31&to=9999-12-31",
        "from=0001-01-01&to=0001-12-31",
    ):
        answer = guest.client.get(f"/v1/usage?{query}")
        assert (answer.status_code, answer.json()["items"]) == (200, []), query


def test_a_deleted_job_is_gone(guest: Guest) -> None:
    """I04, I34: its id is never another's."""
    job_id = guest.post(json=guest.body()).json()["id"]
    assert guest.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    guest.accepted.discard(job_id)
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/results"):
        answer = guest.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (410, "job_deleted")


STEPS: list[tuple[str, str]] = [
    ("I32-minus", "-1"),
    ("I32-0", "0"),
    ("I32-10**9", "1000000000"),
    ("I32-half", "1.5"),
    ("I32-word", "x"),
    ("I32-hexadecimal", "0x1"),
    ("I32-digits", "1" * 5000),
]


@pytest.mark.parametrize("step", [pytest.param(made, id=row) for row, made in STEPS])
def test_indexes(guest: Guest, step: str) -> None:
    answer = guest.client.get(f"/v1/trainings/{ABSENT_JOB}/validations/{step}")
    assert (answer.status_code, answer.json()["code"] in {"out_of_range", "invalid_request"}) == (422, True)
    assert guest.client.get(f"/v1/trainings/{ABSENT_JOB}/validations/1").status_code == 404


def test_random_ids_hit_nothing(guest: Guest) -> None:
    """I65, a small part of it: ids have 128 bits, of which 80 are random."""
    client = guest.client
    for number in range(50):
        made = f"job_{number:026d}"
        assert client.get(f"/v1/jobs/{made}").status_code == 404
