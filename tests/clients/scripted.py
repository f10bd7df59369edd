"""A server that answers as the test says, and clients of it that do not really sleep."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx

from earthsynth import EarthSynth
from earthsynth.retries import RetryPolicy
from tests.deploy.web import reply, serving

Answer = Callable[[BaseHTTPRequestHandler], None]

JOB = {"id": "job_1", "kind": "generation", "status": "queued"}


def says(status: int, body: Any, **headers: str) -> Answer:
    return lambda request: reply(request, status, json.dumps(body).encode(), **headers)


def problem(status: int, code: str, *, retryable: bool = False, **headers: str) -> Answer:
    """A refusal as the service words it."""
    body = {"code": code, "detail": f"It is {code}.", "status": status, "errors": [], "request_id": "r1"}
    return says(status, body | {"retryable": retryable}, Content_Type="application/problem+json", **headers)


def hangs_up(request: BaseHTTPRequestHandler) -> None:
    """The connection is reset without an answer."""
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Script:
    """Gives one answer after another, the last one for ever; keeps what was asked and how long a client slept."""

    answers: tuple[Answer, ...]
    asked: list[Asked] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body: bytes = request.body  # type: ignore[attr-defined]  # read by `serving`
        self.asked.append(Asked(request.command, request.path, headers, body))
        self.answers[min(len(self.asked), len(self.answers)) - 1](request)


@contextmanager
def scripted(*answers: Answer, **options: Any) -> Iterator[tuple[EarthSynth, Script]]:
    """A client of a server with these answers; jitter always takes the most."""
    script = Script(answers)
    with (
        serving(script) as url,
        httpx.Client(trust_env=False, timeout=10) as http,
        EarthSynth(url, http_client=http, **options) as client,
    ):
        client._transport._sleep = script.slept.append
        client._transport.retries = RetryPolicy(client._transport.settings.max_retries, lambda: 1.0)
        yield client, script
