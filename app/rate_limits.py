"""How often a key may ask: moving windows in Redis, told with every answer.

The fields are those of the IETF draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-10):
`RateLimit-Policy: "requests-60s";q=600;w=60` and `RateLimit: "requests-60s";r=599;t=1`. Where Redis does not answer,
nobody is refused here: what needs it answers 503 by itself.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request
from limits import RateLimitItem, parse_many
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from models.errors import Overloaded
from worker.logs import get_logger
from worker.settings import Settings

log = get_logger(__name__)

_CREATED = {HTTPStatus.CREATED, HTTPStatus.ACCEPTED}
_PREFIX = "es:rate"


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `item.amount` requests of a kind (`requests`: of any) in each window."""

    kind: str
    item: RateLimitItem

    @property
    def seconds(self) -> int:
        return self.item.get_expiry()

    @property
    def name(self) -> str:
        return f'"{self.kind}-{self.seconds}s"'

    @property
    def field(self) -> str:
        return f"{self.name};q={self.item.amount};w={self.seconds}"


class RateLimits:
    """The limits of every key. Made where an event loop runs, one a process."""

    def __init__(self, settings: Settings) -> None:
        self._of_all = _policies("requests", settings.rate_limit)
        self._of_creates = _policies("creates", settings.create_rate_limit)
        self._pool = BlockingConnectionPool.from_url(
            settings.redis_url.get_secret_value(),
            max_connections=20,
            timeout=1,
            socket_connect_timeout=0.5,
            socket_timeout=0.5,
            retry=Retry(NoBackoff(), 0),
        )
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=_PREFIX,
            connection_pool=self._pool,  # type: ignore[arg-type]  # limits' options are typed as plain values
        )
        self._windows = MovingWindowRateLimiter(storage)
        self._is_away = False

    @property
    def policies(self) -> list[Policy]:
        return [*self._of_all, *self._of_creates]

    async def count(self, request: Request, tenant: str, key_id: str) -> None:
        """Counts the request for the key, and notes what the answer's fields will say.

        Raises Overloaded: rate_limited, with the seconds until the oldest request leaves the window.
        """
        policies = [*self._of_all, *(self._of_creates if _creates(request) else ())]
        if not policies:
            return
        told: list[str] = []
        refused: Overloaded | None = None
        try:
            for policy in policies:
                if not await self._windows.hit(policy.item, policy.kind, tenant, key_id):
                    refused = Overloaded(
                        f"This key may make {policy.item.amount} {policy.kind} in {policy.seconds} s. Wait.",
                        code="rate_limited",
                    )
                window = await self._windows.get_window_stats(policy.item, policy.kind, tenant, key_id)
                seconds = max(1, math.ceil(window.reset_time - time.time()))
                told.append(f"{policy.name};r={max(0, window.remaining)};t={seconds}")
                if refused is not None:
                    refused.retry_after_seconds = seconds
                    break
        except RedisError as error:
            self._note(error)
            return
        self._note(None)
        request.state.answer_fields = {
            "RateLimit-Policy": ", ".join(policy.field for policy in policies),
            "RateLimit": ", ".join(told),
        }
        if refused is not None:
            raise refused

    async def close(self) -> None:
        await self._pool.disconnect()

    def _note(self, error: RedisError | None) -> None:
        if error is not None and not self._is_away:
            log.warning("requests are not counted", error=str(error))
        self._is_away = error is not None


def _policies(kind: str, notation: str) -> list[Policy]:
    return [Policy(kind, item) for item in parse_many(notation)] if notation else []


def _creates(request: Request) -> bool:
    """Whether the operation makes something: it answers 201 or 202, by its declaration."""
    return request.method == "POST" and getattr(request.scope.get("route"), "status_code", None) in _CREATED
