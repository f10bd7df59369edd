"""Following a job over connections that break, against a server that answers as it is told."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

import earthsynth
from earthsynth._sse import Comment, Message, SseDecoder
from earthsynth.types import Event, LogEvent, ResyncEvent
from tests.clients.scripted import JOB, Answer, hangs_up, problem, says, scripted


def line(event_id: str | None, kind: str, **data: Any) -> str:
    place = "" if event_id is None else f"id: {event_id}\n"
    return f"{place}event: {kind}\ndata: {json.dumps(data)}\n\n"


def streams(*parts: str) -> Answer:
    """These events, then the connection ends."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream; charset=utf-8")
        request.end_headers()
        for part in parts:
            request.wfile.write(part.encode())

    return answer


def nothing(request: BaseHTTPRequestHandler) -> None:
    request.send_response(204)
    request.end_headers()


NOW = line(None, "status", status="running", job=JOB | {"status": "running"})
END = line("3-0", "status", status="succeeded", phase=None, attempts=1, counts={"accepted": 1})


def test_a_broken_stream_goes_on_after_the_last_event() -> None:
    answers = (
        streams(NOW, line("1-0", "progress", progress={"done": 1, "total": 2}), ": keep-alive\n\n"),
        hangs_up,
        problem(503, "store_unavailable", retryable=True, Retry_After="1"),
        streams(line("2-0", "log", level="info", message="hello"), 'id: 2-5\nevent: log\ndata: {"cut'),
        streams(END),
    )
    with scripted(*answers) as (client, script):
        job = client.jobs.ref("job_1")
        seen = list(job.events())
    assert [(event.id, event.type) for event in seen] == [
        (None, "status"),
        ("1-0", "progress"),
        ("2-0", "log"),
        ("3-0", "status"),
    ]
    assert [one.headers.get("last-event-id") for one in script.asked] == [None, "1-0", "1-0", "1-0", "2-0"]
    assert isinstance(seen[2], LogEvent)
    assert (job.status, job.kind, job.counts.accepted) == ("succeeded", "generation", 1)
    assert script.asked[0].headers["accept"] == "text/event-stream"


def test_lost_events_are_said_and_the_job_is_as_it_is_now() -> None:
    resync = line(
        None, "resync", status="running", phase="upload", job=JOB | {"status": "running", "phase": "upload"}
    )
    with scripted(streams(resync, END)) as (client, script):
        job = client.jobs.ref("job_1")
        events = job.events("0-7")
        first = next(events)
        assert isinstance(first, ResyncEvent)
        assert job.phase == "upload"
        assert [event.type for event in events] == ["status"]
    assert script.asked[0].headers["last-event-id"] == "0-7"


def test_where_nothing_follows_the_stream_is_empty() -> None:
    with scripted(nothing) as (client, _):
        assert list(client.jobs.ref("job_1").events("3-0")) == []


def test_an_ended_job_whose_log_is_gone_ends_the_stream() -> None:
    ended = line(None, "status", status="failed", job=JOB | {"status": "failed"})
    with scripted(streams(ended)) as (client, script):
        assert [event.type for event in client.jobs.ref("job_1").events()] == ["status"]
    assert len(script.asked) == 1


def test_a_stream_that_never_says_anything_new_is_given_up() -> None:
    with scripted(streams(NOW), max_retries=1) as (client, script):
        events = client.jobs.ref("job_1").events()
        with pytest.raises(earthsynth.APIConnectionError, match="broke off"):
            list(events)
    assert len(script.slept) == 4  # waiting is four times as patient


def test_a_refusal_ends_it() -> None:
    with scripted(problem(404, "job_not_found")) as (client, _), pytest.raises(earthsynth.NotFound):
        list(client.jobs.ref("job_1").events())


def test_kinds_of_a_newer_service_are_plain_events() -> None:
    with scripted(streams(line("1-0", "cost", eur=3), END)) as (client, _):
        first, _ = client.jobs.ref("job_1").events()
    assert type(first) is Event
    assert first.eur == 3  # type: ignore[attr-defined]


def test_waiting_raises_what_the_job_ended_with() -> None:
    failed = JOB | {
        "status": "failed",
        "error": {"code": "worker_lost", "detail": "It is gone.", "status": 500},
    }
    with scripted(streams(NOW, line("2-0", "status", status="failed")), says(200, failed)) as (client, _):
        with pytest.raises(earthsynth.JobFailed, match="It is gone") as ended:
            client.jobs.ref("job_1").wait()
        assert (ended.value.code, ended.value.job.id) == ("worker_lost", "job_1")


def test_waiting_by_asking() -> None:
    answers = (says(200, JOB), says(200, JOB), says(200, JOB | {"status": "succeeded"}))
    with scripted(*answers) as (client, script):
        assert client.jobs.ref("job_1").wait(5, poll_seconds=0.01).status == "succeeded"
    assert {one.path for one in script.asked} == {"/v1/jobs/job_1"}


def test_the_format_is_read_whatever_the_chunks_are() -> None:
    text = (
        "\ufeff: hi\r\nid: 1\r\nevent: a\r\ndata: x\r\ndata:y\r\n\r\nretry: 1500\ndata:  ü\n\n"
        "event: none\n\nid: 2\rdata\r\r"
    )
    whole = [
        Comment(),
        Message("1", "a", "x\ny"),
        Message(None, "message", " ü"),
        Message("2", "message", ""),
    ]
    data = text.encode()
    for size in (1, 2, 3, 7, len(data)):
        decoder = SseDecoder()
        found = [
            one for start in range(0, len(data), size) for one in decoder.feed(data[start : start + size])
        ]
        assert found == whole, size
        assert decoder.retry_seconds == 1.5
