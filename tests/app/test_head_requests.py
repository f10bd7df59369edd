"""HEAD is GET without its body (RFC 9110, 9.3.2), for streams too."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.types import Message

from app.head_requests import HeadRequests
from deploy.localstack import LocalStack
from tests.app.raw_http import request
from tests.pictures import png, road_and_buildings

ABSENT = f"job_{0:026d}"
OF_THE_MOMENT = {"date", "x-request-id", "ratelimit", "content-length"}  # and what depends on such values


def heads(url: str, path: str) -> tuple[httpx.Response, httpx.Response]:
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        return client.get(path), client.head(path)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/docs", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/openapi.json", 200),
        ("/v1/categories", 200),
        ("/v1/jobs", 200),
        ("/v1/jobs?limit=0", 422),
        (f"/v1/jobs/{ABSENT}", 404),
        (f"/v1/jobs/{ABSENT}/events", 404),
        ("/v1/generations", 405),
        ("/nowhere", 404),
    ],
)
def test_the_head_is_that_of_get(service: LocalStack, path: str, status: int) -> None:
    whole, head = heads(service.api_url, path)
    assert (whole.status_code, head.status_code) == (status, status)
    assert whole.content
    assert not head.content
    assert {name: value for name, value in head.headers.items() if name not in OF_THE_MOMENT} == {
        name: value for name, value in whole.headers.items() if name not in OF_THE_MOMENT
    }
    if "content-length" in whole.headers and path != "/metrics" and status == 200:
        assert head.headers["content-length"] == str(len(whole.content))


def test_no_byte_of_a_body_comes_before_the_next_answer(service: LocalStack) -> None:
    host, _, port = service.api_url.removeprefix("http://").partition(":")
    close = request("/livez", "Connection: close", method="HEAD")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            request("/v1/categories", method="HEAD") + request("/nowhere", method="HEAD") + close
        )
        data = b""
        while piece := connection.recv(65_536):
            data += piece
    answers = data.split(b"\r\n\r\n")
    assert [answer.split(b" ", 2)[1] for answer in answers[:-1]] == [b"200", b"404", b"200"]
    assert answers[-1] == b""


def test_the_head_of_events_ends_although_the_job_does_not(service: LocalStack) -> None:
    form = {"num_images": "16", "num_inference_steps": "100"}
    mask = {"mask": ("mask.png", png(road_and_buildings(256)))}
    with httpx.Client(base_url=service.api_url, trust_env=False, timeout=30) as client:
        job = client.post("/v1/generations", data=form, files=mask).json()["id"]
        try:
            head = client.head(f"/v1/jobs/{job}/events")
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"].startswith("text/event-stream")
            assert client.get(f"/v1/jobs/{job}").json()["status"] in {"queued", "running"}
        finally:
            client.post(f"/v1/jobs/{job}/cancel")


def test_what_streams_learns_that_nobody_listens() -> None:
    app, ended = FastAPI(), []

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def pieces():
            try:
                while True:
                    yield b"x"
                    await asyncio.sleep(0.01)
            finally:
                ended.append(True)

        return StreamingResponse(pieces())

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        """As servers do: the request, and the disconnection once the answer is whole."""
        await asyncio.sleep(0.05)
        if sent and not sent[-1].get("more_body", True):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "HEAD",
        "path": "/endless",
        "raw_path": b"/endless",
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
    }
    asyncio.run(asyncio.wait_for(HeadRequests(app)(scope, receive, send), 10))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"] == b""
    assert ended == [True]
    assert scope["method"] == "HEAD"
    assert scope["route"].path == "/endless", "requests are counted by their routes"
