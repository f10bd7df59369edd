"""Who calls: an API key's tenant and scopes, or, on a loopback address without any key, everybody as one tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from app.dependencies import AppResources, resources_of
from app.queries import check_parameters
from models.errors import Forbidden, Unauthorized
from worker.api_keys import KeyRecord, Scope
from worker.layout import LOCAL_TENANT

_LOCAL_KEY = "local"


class _Authorization(HTTPBearer):
    """FastAPI's scheme for the published document; what it gives are all the fields, so that two are seen."""

    async def __call__(self, request: HTTPConnection) -> list[str]:  # type: ignore[override]
        return request.headers.getlist("authorization")


_authorization = _Authorization(
    scheme_name="apiKey",
    bearerFormat="es_…",
    description="An API key, from `earthsynth keys create`. Without any key, on a loopback address, none is needed.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id` tells callers of one tenant apart; it is `local` where nobody needs a key."""

    tenant: str
    key_id: str
    scopes: frozenset[Scope]

    @property
    def needed_key(self) -> bool:
        return self.key_id != _LOCAL_KEY


async def caller(request: Request, given: Annotated[list[str], Security(_authorization)]) -> Caller:
    """Raises Unauthorized without a good key, where one is needed; Unavailable when nobody can say.

    Every request that has a caller is counted for the key's rate limits: Overloaded. Its query parameters must be
    ones of the route: InvalidInput.
    """
    found = resources_of(request)
    if given:
        record = await _verified(found, given)
        known = Caller(record.tenant, record.id, frozenset(record.scopes))
    elif not found.settings.on_loopback or await _needs_key(found):
        raise Unauthorized("Send your API key as `Authorization: Bearer es_…`.", code="missing_key")
    else:
        known = Caller(LOCAL_TENANT, _LOCAL_KEY, frozenset({Scope.ADMIN}))
    structlog.contextvars.bind_contextvars(tenant=known.tenant, key=known.key_id)
    await found.rate_limits.count(request, known.tenant, known.key_id)
    check_parameters(request)
    return known


async def _verified(found: AppResources, given: list[str]) -> KeyRecord:
    scheme, _, key = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not key:
        raise Unauthorized("Send one header `Authorization: Bearer es_…`.", code="missing_key")
    if found.key_ring.is_at_hand(key):  # no thread for what is only looked up in memory
        return found.key_ring.verify(key)
    return await run_in_threadpool(found.key_ring.verify, key)


async def _needs_key(found: AppResources) -> bool:
    if found.key_ring.is_at_hand(None):
        return found.key_ring.needs_key()
    return await run_in_threadpool(found.key_ring.needs_key)


KnownCaller = Annotated[Caller, Depends(caller)]


def _allowed(scope: Scope) -> Callable[[Caller], Awaitable[str]]:
    async def tenant_of(known: KnownCaller) -> str:
        """The caller's tenant. Raises Forbidden for a key without the scope."""
        if scope not in known.scopes and Scope.ADMIN not in known.scopes:
            raise Forbidden(f"This needs a key with the scope {scope}; yours has {_names(known.scopes)}.")
        return known.tenant

    return tenant_of


def _names(scopes: frozenset[Scope]) -> str:
    return ", ".join(sorted(scopes)) or "none"


# What a route's signature says of who may call it; the value is the tenant.
Reads = Annotated[str, Depends(_allowed(Scope.READ))]
Writes = Annotated[str, Depends(_allowed(Scope.WRITE))]
Trains = Annotated[str, Depends(_allowed(Scope.TRAIN))]
Operates = Annotated[str, Depends(_allowed(Scope.ADMIN))]
