"""What the client sends again, after what pause, with which key; and what it never repeats."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

import earthsynth
from earthsynth import AsyncEarthSynth, EarthSynth
from earthsynth.retries import retry_after
from tests.clients.scripted import JOB, Answer, Script, hangs_up, problem, says, scripted
from tests.clients.zips import a_zip
from tests.deploy.web import serving

BUSY = problem(409, "idempotency_in_progress", retryable=True, Retry_After="1")
AWAY = problem(503, "store_unavailable", retryable=True, Retry_After="2")


def test_a_post_keeps_its_key_and_its_bytes_over_all_retries() -> None:
    answers = (
        hangs_up,
        AWAY,
        BUSY,
        problem(429, "queue_full", Retry_After="3"),
        says(504, "proxy"),
        says(202, JOB),
    )
    with scripted(*answers) as (client, script):
        job = client.generate(b"mask", seed=1)
    assert job.id == "job_1"
    assert len(script.asked) == 6
    assert len({request.headers["idempotency-key"] for request in script.asked}) == 1
    assert uuid.UUID(script.asked[0].headers["idempotency-key"]).version == 4
    assert len({request.body for request in script.asked}) == 1
    # full jitter up to 0.5 s doubled; else what the service asks for, and up to half a second more
    assert script.slept == [0.5, 2.5, 1.5, 3.5, 8.0]


def test_another_call_has_another_key_unless_it_is_given() -> None:
    with scripted(says(202, JOB)) as (client, script):
        for _ in range(2):
            client.generate(mask_id="msk_1")
        client.generate(mask_id="msk_1", idempotency_key="mine")
    keys = [request.headers["idempotency-key"] for request in script.asked]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"
    assert b"idempotency_key" not in script.asked[2].body


def test_a_form_is_the_same_bytes_when_it_is_sent_again(tmp_path: Path) -> None:
    (tmp_path / "masks.zip").write_bytes(a_zip())
    with scripted(hangs_up, AWAY, says(201, {"id": "mset_1", "masks": 1})) as (client, script):
        seen: list[tuple[int, int]] = []
        found = client.mask_sets.create(
            tmp_path / "masks.zip",
            tile_size=256,
            partial=True,
            label_map={"1": "road"},
            progress=lambda done, total: seen.append((done, total)),
        )
    assert found.id == "mset_1"
    first, *others = script.asked
    assert all(
        (one.body, one.headers["content-type"]) == (first.body, first.headers["content-type"])
        for one in others
    )
    for part in (
        a_zip(),
        b'name="tile_size"\r\n\r\n256\r\n',
        b'name="partial"\r\n\r\ntrue\r\n',
        b'{"1": "road"}',
    ):
        assert part in first.body
    assert seen[-1] == (len(a_zip()), len(a_zip()))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(400, "malformed_json"), earthsynth.BadRequest),
        (problem(401, "unauthorized"), earthsynth.AuthenticationError),
        (problem(403, "forbidden"), earthsynth.PermissionDenied),
        (problem(404, "job_not_found"), earthsynth.NotFound),
        (problem(409, "job_ended"), earthsynth.Conflict),
        (problem(410, "job_gone"), earthsynth.Gone),
        (problem(413, "too_large"), earthsynth.PayloadTooLarge),
        (problem(415, "unsupported_format"), earthsynth.UnsupportedMediaType),
        (problem(422, "idempotency_key_reused", retryable=True), earthsynth.UnprocessableRequest),
        (problem(500, "corrupt_model"), earthsynth.ServerError),
        (problem(501, "not_implemented"), earthsynth.ServerError),
    ],
)
def test_what_says_that_nothing_was_started_is_final(answer: Answer, error: type[Exception]) -> None:
    with scripted(answer) as (client, script), pytest.raises(error) as refused:
        client.generate(mask_id="msk_1")
    assert (len(script.asked), script.slept) == (1, [])
    assert isinstance(refused.value, earthsynth.APIError)
    assert refused.value.request_id == "r1"
    assert refused.value.code in str(refused.value)


@pytest.mark.parametrize("status", [502, 503, 504, 429, 500])
def test_the_retries_end(status: int) -> None:
    with scripted(problem(status, "x", retryable=True), max_retries=2) as (client, script):
        with pytest.raises(earthsynth.APIError) as last:
            client.jobs.get("job_1")
        assert last.value.status == status
    assert script.slept == [0.5, 1.0]
    assert "idempotency-key" not in script.asked[0].headers


def test_nobody_there() -> None:
    slept: list[float] = []
    with EarthSynth("http://127.0.0.1:9", max_retries=1) as client:
        client._transport._sleep = slept.append
        with pytest.raises(earthsynth.APIConnectionError, match="not reachable"):
            client.jobs.get("job_1")
    assert len(slept) == 1


def test_a_pause_that_nobody_wants_to_sit_through_is_left_to_the_caller() -> None:
    with scripted(problem(429, "quota", Retry_After="3600")) as (client, script):
        with pytest.raises(earthsynth.RateLimited) as refused:
            client.jobs.get("job_1")
        assert refused.value.retry_after_seconds == 3600
    assert script.slept == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("soon", None),
        ("nan", None),
        ("", None),
    ],
)
def test_both_forms_of_retry_after(text: str, seconds: float | None) -> None:
    now = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)
    assert retry_after({"retry-after": text}, now) == seconds


def test_whatever_is_not_this_api_is_said() -> None:
    page = says(200, ["no", "object"])
    with scripted(page) as (client, _), pytest.raises(earthsynth.UnexpectedAnswer, match="is it EarthSynth"):
        client.jobs.get("job_1")
    with (
        scripted(says(404, "<html>")) as (client, _),
        pytest.raises(earthsynth.NotFound, match="is it EarthSynth"),
    ):
        client.jobs.get("job_1")
    moved = says(301, {}, Location="https://elsewhere.example/v1/jobs/job_1")
    with scripted(moved) as (client, _), pytest.raises(earthsynth.UnexpectedAnswer, match="elsewhere"):
        client.jobs.get("job_1")


def test_fields_of_a_newer_service_are_kept() -> None:
    newer = JOB | {"status": "paused", "cost": {"eur": 0.3}, "progress": {"done": 1, "watts": 5}}
    with scripted(says(200, newer)) as (client, _):
        job = client.jobs.get("job_1")
    assert (job.status, job.cost, job.progress.watts, job.ended) == ("paused", {"eur": 0.3}, 5, False)  # type: ignore[attr-defined]


def test_the_key_goes_to_the_service_and_what_is_not_said_is_not_sent() -> None:
    with scripted(says(202, JOB), api_key="es_secret") as (client, script):
        client.generate(
            mask_id="msk_1",
            filter="off",
            categories=("road",),
            metadata={"a": "b"},
            extra_body={"new": 1},
            wait=9,
        )
    (asked, *_) = script.asked
    assert asked.headers["authorization"] == "Bearer es_secret"
    assert asked.headers["prefer"] == "wait=9"
    assert asked.headers["user-agent"].startswith("earthsynth-python/")
    assert httpx.Response(200, content=asked.body).json() == {
        "mask_id": "msk_1",
        "filter": {"policy": "off"},
        "categories": ["road"],
        "metadata": {"a": "b"},
        "new": 1,
    }
    assert "es_secret" not in repr(client) + repr(client._transport.settings)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHSYNTH_URL", "https://synth.example/prefix/")
    monkeypatch.setenv("EARTHSYNTH_API_KEY", "es_env")
    with EarthSynth() as client:
        assert client.base_url == "https://synth.example/prefix"
        assert client._transport.settings.headers["Authorization"] == "Bearer es_env"
        patient = client.with_options(max_retries=9, timeout=3)
        assert (patient._transport.settings.max_retries, patient._transport.settings.timeout.read) == (9, 3)
        assert patient._transport.settings.api_key == "es_env"
    for wrong in ("localhost:8000", "ftp://host", "http://", "http://[::1", "http://host?x=1"):
        with pytest.raises(earthsynth.RequestError):
            EarthSynth(wrong)
    with pytest.raises(earthsynth.RequestError, match="line break"):
        EarthSynth(api_key="es_x\n")


def test_async_retries_alike() -> None:
    script, slept = Script((hangs_up, AWAY, says(202, JOB))), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def run(url: str) -> str:
        async with (
            httpx.AsyncClient(trust_env=False) as http,
            AsyncEarthSynth(url, http_client=http) as client,
        ):
            client._transport._sleep = sleep
            return (await client.generate(b"mask")).id

    with serving(script) as url:
        assert asyncio.run(run(url)) == "job_1"
    assert len({request.headers["idempotency-key"] for request in script.asked}) == 1
    assert 0 <= slept[0] <= 0.5
    assert 2.0 <= slept[1] <= 2.5
