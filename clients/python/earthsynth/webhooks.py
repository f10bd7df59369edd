"""Webhooks by Standard Webhooks 1.0: is this payload the service's own, and what does it say?

    event = earthsynth.webhooks.verify(request_body, request_headers, "whsec_…")
    if event.type == "job.succeeded": …

Answer 2xx as soon as the event is stored: it is delivered at least once, with the same `webhook-id` each time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from earthsynth.errors import WebhookVerificationError
from earthsynth.types.records import Record

TOLERANCE_SECONDS = 300.0
"""How far the sender's clock may be from ours; older payloads may be somebody's replay."""


class WebhookEvent(Record):
    """`id` is the webhook's own, the same at every delivery: handle each once. `data` holds the job or export."""

    id: str = ""
    type: str
    timestamp: datetime | None = None
    data: dict[str, Any] = {}


def verify(
    payload: bytes | str,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> WebhookEvent:
    """The event that the payload, byte for byte as it came, carries.

    `secret`: that of the endpoint, `whsec_…`; several while it is being rotated. Raises WebhookVerificationError.
    """
    body = payload.encode() if isinstance(payload, str) else payload
    found = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (
            found[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
    except KeyError as error:
        raise WebhookVerificationError(f"the header {error.args[0]} is missing") from None
    _check_time(timestamp, time.time() if now is None else now, tolerance_seconds)
    secrets = (secret,) if isinstance(secret, str) else tuple(secret)
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    wanted = [hmac.digest(key_of(one), signed, hashlib.sha256) for one in secrets]
    given = list(_signatures(signatures))
    # every pair is compared, in constant time
    matches = [hmac.compare_digest(one, other) for one in wanted for other in given]
    if not any(matches):
        raise WebhookVerificationError("no signature fits the payload: another secret, or other bytes")
    try:
        event = WebhookEvent.model_validate_json(body)
    except ValidationError as error:
        raise WebhookVerificationError("the payload is signed, but is no event") from error
    event.id = message_id
    return event


def key_of(secret: str) -> bytes:
    """The key in a secret, `whsec_` and base64. Raises WebhookVerificationError."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise WebhookVerificationError("the secret is not whsec_ and base64") from error
    if not key:
        raise WebhookVerificationError("the secret is empty")
    return key


def _check_time(timestamp: str, now: float, tolerance_seconds: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise WebhookVerificationError("the header webhook-timestamp is no number of seconds")
    if abs(now - int(timestamp)) > tolerance_seconds:
        raise WebhookVerificationError(
            f"the timestamp is more than {tolerance_seconds:g} s from now: an old payload, or a wrong clock"
        )


def _signatures(header: str) -> Iterator[bytes]:
    for signature in header.split():
        version, _, text = signature.partition(",")
        if version == "v1":
            try:
                yield base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                continue
