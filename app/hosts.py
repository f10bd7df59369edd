"""For whom a request is meant: its Host must be one of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.problems import Problem, answer, problem
from models.errors import Unavailable
from worker.settings import Settings

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]{1,253})(?::(?P<port>[0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class HostNames:
    """What Host may hold: `names`, lower case, `*.name` for those below a name; None: any."""

    names: frozenset[str] | None
    until_keys: bool = False  # any too, once a request needs a key


def names_for(config: Settings) -> HostNames:
    """What the setting says.

    Without it a service that asks for no key, on loopback, goes by loopback names only: otherwise a web page could
    have its own name resolve to 127.0.0.1 (DNS rebinding), and read its visitor's service.
    """
    said = {name.strip().lower() for name in config.allowed_hosts.split(",")} - {""}
    if "*" in said or not (said or config.on_loopback):
        return HostNames(None)
    own = f"[{config.host}]" if ":" in config.host else config.host.lower()
    return HostNames(frozenset({*said, own, *LOOPBACK_NAMES}), until_keys=not said)


class HostCheck:
    """Answers 400 to a Host that is none, 421 to one that is not served here; and OPTIONS for the whole server."""

    def __init__(self, app: ASGIApp, allowed: HostNames) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif (refusal := await self._refusal(scope)) is not None:
            await answer(refusal, {"Connection": "close"})(scope, receive, send)
        elif (scope["method"], scope["path"]) == ("OPTIONS", "*"):
            allow = {"Allow": "DELETE, GET, HEAD, OPTIONS, POST"}
            await Response(status_code=204, headers=allow)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Problem | None:
        host = Headers(scope=scope).get("host")
        if host is None:  # HTTP/1.0 may leave it out, and a browser never does
            return None
        found = _AUTHORITY.fullmatch(host)
        if found is None or int(found["port"] or 0) > 65_535:
            return problem(400, "invalid_host", "The field Host must be a name, or an address, and a port.")
        name = found["name"].lower().removesuffix(".")
        if self._is_ours(name) or (self._allowed.until_keys and await _needs_key(scope)):
            return None
        detail = "This service does not go by that name; its operator may add it to EARTHSYNTH_ALLOWED_HOSTS."
        return problem(421, "host_not_allowed", detail)

    def _is_ours(self, name: str) -> bool:
        names = self._allowed.names
        if names is None or name in names:
            return True
        return any(f"*{name[at:]}" in names for at, letter in enumerate(name) if letter == ".")


async def _needs_key(scope: Scope) -> bool:
    try:
        return await run_in_threadpool(scope["app"].state.resources.key_ring.needs_key)
    except Unavailable:
        return False
