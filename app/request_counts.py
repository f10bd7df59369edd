"""What this process has answered, how soon, and what it refused: counted for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from starlette.types import Message, Scope

from app.answer_heads import AnswerHeads

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads
COUNTED = CollectorRegistry()
_requests = Counter(
    "earthsynth_http_requests",
    "Requests that were answered, by the route's template; route is empty where no route was reached.",
    ["method", "route", "status"],
    registry=COUNTED,
)
_seconds = Histogram(
    "earthsynth_http_response_seconds",
    "From a request's head to its answer's head, of requests that did not ask to wait for a job.",
    ["method", "route"],
    buckets=_SECONDS,
    registry=COUNTED,
)
_refusals = Counter(
    "earthsynth_http_refusals",
    "Problem documents that were sent, by their code (docs/errors.md).",
    ["code"],
    registry=COUNTED,
)


def count_refusal(code: str) -> None:
    """One more problem document was sent."""
    _refusals.labels(code).inc()


class CountedRequests(AnswerHeads):
    """Middleware, outside all other, that counts answers and how long they took."""

    def begin(self, scope: Scope) -> Callable[[Message], None]:
        began = time.perf_counter()
        return lambda head: _count(scope, int(head["status"]), time.perf_counter() - began)


def _count(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = getattr(scope.get("route"), "path", "")
    _requests.labels(method, route, str(status)).inc()
    if not _may_wait(scope):
        _seconds.labels(method, route).observe(seconds)


def _may_wait(scope: Scope) -> bool:
    return b"wait=" in scope["query_string"] or any(name == b"prefer" for name, _ in scope["headers"])
