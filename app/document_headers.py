"""Headers of the contract, described once, and which answers carry them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADERS: Mapping[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The request's id: the caller's own where it sent one; also in logs and problems.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        "example": "615494ab20634cf697a046de3b62c30a",
    },
    "Location": {
        "description": "Where to read what was made, or what is meant.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "After so many seconds it is worth asking again.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 2,
    },
    "Preference-Applied": {
        "description": "What of `Prefer` was followed (RFC 7240).",
        "schema": {"type": "string"},
        "example": "wait=30",
    },
    "Idempotent-Replayed": {
        "description": "true: this is the answer that an earlier request with the same key and body has had.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Link": {
        "description": "Where outputs are that are asked for as references, and the job (`monitor`; RFC 8288).",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "How to say who you are (RFC 6750).",
        "schema": {"type": "string"},
        "example": 'Bearer realm="earthsynth"',
    },
}

REQUEST_HEADERS: Mapping[str, tuple[dict[str, Any], ...]] = {}
"""Headers that every operation of a method takes, where its route does not declare them: none yet."""

_ALWAYS_LATER = frozenset({429, 503})


def headers_of(operation: dict[str, Any], status: int) -> list[str]:
    """The names of the headers that the operation's answer with that status carries, its route's own first."""
    asked = {
        parameter["name"].lower()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "header"
    }
    statuses = {int(key) for key in operation["responses"]}
    names = ["X-Request-ID", *operation["responses"][str(status)].get("headers", ())]
    if status in {201, 202, 307} or (status == 200 and statuses & {201, 202} and "Link" not in names):
        names.append("Location")
    if status == 202 or status in _ALWAYS_LATER:
        names.append("Retry-After")
    if "prefer" in asked and status < 300:
        names.append("Preference-Applied")
    if "idempotency-key" in asked and status < 300:
        names.append("Idempotent-Replayed")
    if status in {401, 403}:
        names.append("WWW-Authenticate")
    return names
