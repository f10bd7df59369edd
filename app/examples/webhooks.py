"""Examples: webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.examples.example import DELIVERY_ID, ENDPOINT_ID, Codes, Example
from app.examples.problems import FIELDS, LIST

_URL = "https://hooks.example.org/earthsynth"
_ENDPOINT: dict[str, Any] = {
    "id": ENDPOINT_ID,
    "url": _URL,
    "events": ["job.succeeded", "job.failed"],
    "description": None,
    "enabled": True,
    "disabled_reason": None,
    "created_at": "2026-11-26T20:37:29.429000Z",
}
_WITH_SECRET = _ENDPOINT | {"secret": "whsec_…"}
_WEBHOOK_ID = "msg_s8jv0mad2r0tkc67syvjs5yg59"
_ATTEMPT = {
    "at": "2026-11-26T20:38:00.120000Z",
    "seconds": 0.214,
    "status": 204,
    "error": None,
    "detail": None,
}
_DELIVERY: dict[str, Any] = {
    "id": DELIVERY_ID,
    "webhook_id": _WEBHOOK_ID,
    "event": "job.succeeded",
    "endpoint_id": ENDPOINT_ID,
    "url": _URL,
    "status": "delivered",
    "error": None,
    "created_at": "2026-11-26T20:37:59.905000Z",
    "finished_at": "2026-11-26T20:38:00.334000Z",
    "next_try_at": None,
    "attempts": [_ATTEMPT],
}
_PENDING = _DELIVERY | {
    "status": "pending",
    "finished_at": None,
    "next_try_at": "2026-11-26T20:41:00Z",
    "attempts": [],
}
_CALL = {
    "endpoint_id": ENDPOINT_ID,
    "url": _URL,
    "delivered": True,
    "status": 204,
    "error": None,
    "detail": None,
    "seconds": 0.214,
    "webhook_id": _WEBHOOK_ID,
    "body": '{"type":"webhook.test","timestamp":"2026-11-26T20:38:00.120000Z","data":{…}}',
}
_URLS = ("url_not_allowed", "credentials_in_url")
_FOUND: Codes = {404: ("webhook_not_found",)}

EXAMPLES: Mapping[str, Example] = {
    "create_webhook": Example(
        {201: _WITH_SECRET, 200: _ENDPOINT | {"secret": None}},
        bodies={"two events of every job": {"url": _URL, "events": ["job.succeeded", "job.failed"]}},
        codes={409: ("too_many_webhooks",), 422: (*_URLS, *FIELDS)},
    ),
    "list_webhooks": Example({200: {"items": [_ENDPOINT], "next_cursor": None}}, codes={422: LIST}),
    "test_webhook": Example(
        {200: _CALL},
        bodies={"an endpoint": {"endpoint_id": ENDPOINT_ID}, "a URL": {"url": _URL}},
        codes=_FOUND | {422: (*_URLS, *FIELDS)},
    ),
    "get_webhook": Example({200: _ENDPOINT}, codes=_FOUND),
    "delete_webhook": Example({204: None}, codes=_FOUND),
    "get_webhook_secret": Example(
        {200: {"secret": "whsec_…", "previous": None, "previous_expires_at": None}}, codes=_FOUND
    ),
    "rotate_webhook_secret": Example({200: _WITH_SECRET}, codes=_FOUND),
    "enable_webhook": Example({200: _ENDPOINT}, codes=_FOUND),
    "list_deliveries": Example(
        {200: {"items": [_DELIVERY], "next_cursor": None}}, codes={404: ("job_not_found",), 422: LIST}
    ),
    "redeliver_delivery": Example(
        {202: _PENDING},
        codes={404: ("job_not_found", "delivery_not_found"), 409: ("webhook_deleted", "webhook_disabled")},
    ),
}
