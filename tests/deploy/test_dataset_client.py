"""What the client repeats and what it never does, against a server that answers as it is told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from deploy import ports
from deploy.dataset_client import Service
from deploy.exit_codes import ExitCode, Unsuccessful
from tests.deploy.web import reply, serving

BUSY = {"detail": "10 jobs are waiting already.", "code": "queue_full", "status": 429, "errors": []}
AWAY = {"detail": "Redis is away.", "code": "store_unavailable", "status": 503, "errors": []}
Answer = Callable[[BaseHTTPRequestHandler], None]


def says(status: int, body: Any, **headers: str) -> Answer:
    return lambda request: reply(request, status, json.dumps(body).encode(), **headers)


def hangs_up(_: BaseHTTPRequestHandler) -> None:
    """The connection ends without an answer."""


class Script:
    """Gives one answer after another, and counts."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.given = list(answers), 0
        self.keys: list[str | None] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        self.given += 1
        self.keys.append(request.headers.get("Idempotency-Key"))
        self.answers[min(self.given, len(self.answers)) - 1](request)


def test_a_get_survives_a_service_that_is_away() -> None:
    script = Script(says(503, AWAY, Retry_After="1"), hangs_up, says(502, "nginx"), says(200, {"id": "x"}))
    said: list[str] = []
    with serving(script) as url, Service(url, said.append) as service:
        service._patience.seconds = 20
        assert service.get("/v1/jobs/x") == {"id": "x"}
    assert script.given == 4
    assert said == ["Redis is away. [store_unavailable] Trying again for 20 s …"]


def test_a_mask_set_may_be_sent_twice() -> None:
    script = Script(hangs_up, says(201, {"id": "mset_1", "masks": 1}))
    with serving(script) as url, Service(url, lambda _: None) as service:
        assert service.keep_mask_set(io.BytesIO(b"zip"))["id"] == "mset_1"
    assert script.given == 2


def test_a_full_queue_is_waited_for() -> None:
    script = Script(says(429, BUSY, Retry_After="1"), says(202, {"id": "job_1"}))
    with serving(script) as url, Service(url, lambda _: None) as service:
        assert service.post("/v1/datasets", {})["id"] == "job_1"
    assert script.given == 2


@pytest.mark.parametrize("answer", [hangs_up, says(503, AWAY, Retry_After="0"), says(504, "proxy")])
def test_a_job_that_may_exist_is_asked_for_again_under_the_same_key(answer: Answer) -> None:
    script = Script(says(429, BUSY, Retry_After="0"), answer, says(202, {"id": "job_1"}))
    with serving(script) as url, Service(url, lambda _: None) as service:
        assert service.post("/v1/datasets", {})["id"] == "job_1"
    assert len(script.keys) == 3
    assert len(set(script.keys)) == 1


def test_the_key_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHSYNTH_API_KEY", "es_of_the_environment")
    seen: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers.get("Authorization"))
        reply(request, 200, b"{}")

    with serving(answer) as url, Service(url, lambda _: None) as service:
        service.get("/v1/jobs/x")
    assert seen == ["Bearer es_of_the_environment"]


def test_a_refusal_is_its_sentence_its_code_and_its_fields() -> None:
    fields = [{"pointer": "/seed", "message": "too large"}, {"pointer": "/name", "message": "empty"}]
    problem = {"detail": "/seed: too large", "code": "out_of_range", "status": 422, "errors": fields}
    script = Script(says(422, problem))
    with serving(script) as url, Service(url, lambda _: None) as service:
        with pytest.raises(Unsuccessful) as ended:
            service.post("/v1/datasets", {})
        assert ended.value.exit_code is ExitCode.REFUSED
    assert ended.value.lines == ("error: /seed: too large [out_of_range]", "  /name: empty")
    assert script.given == 1


def test_a_page_of_something_else_is_said() -> None:
    page = Script(lambda request: reply(request, 404, b"<html>"))
    with (
        serving(page) as url,
        Service(url, lambda _: None) as service,
        pytest.raises(Unsuccessful, match="is it EarthSynth"),
    ):
        service.get("/v1/jobs/x")


def test_nobody_there() -> None:
    (port,) = ports.choose(1)
    with Service(f"http://127.0.0.1:{port}", lambda _: None) as service:
        service._patience.seconds = 0.5
        with pytest.raises(Unsuccessful, match="is not reachable") as ended:
            service.get("/v1/jobs/x")
    assert ended.value.exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://[::1"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(Unsuccessful, match="--url") as ended:
        Service(url, lambda _: None)
    assert ended.value.exit_code is ExitCode.USAGE
