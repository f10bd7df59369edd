"""Which names the service goes by; by those of a running one see rows H15 in test_hostile_headers.py."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from app.hosts import HostCheck, names_for
from worker.settings import Settings


def status(settings: Settings, host: str) -> int:
    """What a service with these settings, and without any key, answers to that Host."""

    async def asked() -> int:
        checked = HostCheck(PlainTextResponse("here"), names_for(settings))
        transport = httpx.ASGITransport(checked)  # type: ignore[arg-type]  # Starlette and httpx type ASGI differently
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/", headers={"host": host})).status_code

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("allowed", "listens_on", "host", "expected"),
    [
        ("", "0.0.0.0", "any.example", 200),  # noqa: S104  (beyond loopback nobody comes in without a key)
        ("*", "127.0.0.1", "any.example", 200),
        ("api.example", "0.0.0.0", "api.example:8443", 200),  # noqa: S104
        ("api.example", "0.0.0.0", "API.Example.", 200),  # noqa: S104
        ("api.example", "0.0.0.0", "www.api.example", 421),  # noqa: S104
        ("api.example", "0.0.0.0", "other.example", 421),  # noqa: S104
        ("api.example", "0.0.0.0", "127.0.0.1:8000", 200),  # noqa: S104  (health checks)
        ("api.example", "192.0.2.7", "192.0.2.7", 200),
        (" API.example , *.maps.example ", "127.0.0.1", "a.b.maps.example", 200),
        ("*.maps.example", "127.0.0.1", "maps.example", 421),
        ("*.maps.example", "127.0.0.1", "evilmaps.example", 421),
        ("*.maps.example", "127.0.0.1", ".maps.example", 200),
        ("api.example", "127.0.0.1", "api.example:x", 400),
    ],
)
def test_names(allowed: str, listens_on: str, host: str, expected: int) -> None:
    assert status(Settings(allowed_hosts=allowed, host=listens_on), host) == expected
