"""Webhooks verified by the client, signed by the reference library."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from earthsynth import WebhookVerificationError, webhooks

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of ours!!").decode()
BODY = json.dumps({"type": "job.succeeded", "timestamp": "2026-11-01T00:00:00Z", "data": {"id": "job_1"}})


def signed(secret: str = SECRET, body: str = BODY) -> dict[str, str]:
    at = datetime.now(UTC)
    return {
        "Webhook-Id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "WEBHOOK-SIGNATURE": Webhook(secret).sign("msg_1", at, body),
    }


def test_what_the_reference_library_signs_is_believed() -> None:
    for payload in (BODY, BODY.encode()):
        event = webhooks.verify(payload, signed(), SECRET)
        assert (event.id, event.type, event.data) == ("msg_1", "job.succeeded", {"id": "job_1"})


def test_while_a_secret_is_rotated() -> None:
    both = signed()
    both["WEBHOOK-SIGNATURE"] = f"v1,AAAA v1a,xx {signed(OTHER)['WEBHOOK-SIGNATURE']} v1,?"
    assert webhooks.verify(BODY, both, OTHER).id == "msg_1"
    assert webhooks.verify(BODY, signed(), [OTHER, SECRET]).id == "msg_1"


@pytest.mark.parametrize(
    ("change", "body", "secret", "word"),
    [
        ({}, BODY, OTHER, "no signature fits"),
        ({}, BODY + " ", SECRET, "no signature fits"),
        ({"Webhook-Id": "msg_2"}, BODY, SECRET, "no signature fits"),
        ({"webhook-timestamp": "1"}, BODY, SECRET, "from now"),
        ({"webhook-timestamp": "x"}, BODY, SECRET, "no number"),
        ({"WEBHOOK-SIGNATURE": ""}, BODY, SECRET, "no signature fits"),
        ({}, BODY, "whsec_", "empty"),
        ({}, BODY, "whsec_?", "base64"),
    ],
)
def test_anything_else_is_not(change: dict[str, str], body: str, secret: str, word: str) -> None:
    with pytest.raises(WebhookVerificationError, match=word):
        webhooks.verify(body, signed() | change, secret)


def test_missing_headers_and_what_is_no_event() -> None:
    for name in signed():
        headers = signed()
        del headers[name]
        with pytest.raises(WebhookVerificationError, match="missing"):
            webhooks.verify(BODY, headers, SECRET)
    with pytest.raises(WebhookVerificationError, match="no event"):
        webhooks.verify("[]", signed(body="[]"), SECRET)
