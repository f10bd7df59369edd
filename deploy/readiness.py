"""What the launcher asks the API to learn whether the stack can serve."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx

_SETTLED = frozenset({"ready", "busy", "failed"})


def api_is_ready(api_url: str) -> bool:
    """Whether GET /readyz answers 200."""
    try:
        return _get(f"{api_url}/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:  # not yet listening
        return False


def worker_states(api_url: str) -> list[dict[str, Any]]:
    """The workers as GET /v1/workers lists them: name, pid, host, status, reason, model."""
    answer = _get(f"{api_url}/v1/workers").raise_for_status()
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def a_worker_is_settled(api_url: str, since: datetime) -> bool:
    """Whether a worker started after `since` has loaded its model, or has said why it cannot.

    The time is checked because a stack that was killed leaves its workers in the list for some seconds.
    """
    try:
        workers = worker_states(api_url)
    except httpx.HTTPError:  # the API is restarting, or Redis is
        return False
    return any(
        worker["queue"] == "generation"
        and worker["status"] in _SETTLED
        and datetime.fromisoformat(str(worker["started_at"])) >= since
        for worker in workers
    )


def _get(url: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=3) as client:
        return client.get(url)
