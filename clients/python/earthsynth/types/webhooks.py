"""Webhooks: where events go, and how their sending went."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from earthsynth.types.records import Record


class WebhookEndpoint(Record):
    """`events`: what it hears of every job. `disabled_reason` says why it hears of nothing.

    `secret` (whsec_…) is told when the endpoint is made or its secret rotated; else see `client.webhooks.secret`.
    """

    id: str
    url: str
    events: list[str] = []
    description: str | None = None
    enabled: bool = True
    disabled_reason: str | None = None
    created_at: datetime | None = None
    secret: str | None = None


class WebhookSecret(Record):
    """`previous` signs too until `previous_expires_at`."""

    secret: str
    previous: str | None = None
    previous_expires_at: datetime | None = None


class WebhookCall(Record):
    """What came of a test call; `status` is the receiver's, `webhook_id` and `body` are what was sent."""

    url: str
    delivered: bool
    endpoint_id: str | None = None
    status: int | None = None
    error: str | None = None
    detail: str | None = None
    seconds: float | None = None
    webhook_id: str | None = None
    body: str | None = None


class Delivery(Record):
    """One webhook about a job. `webhook_id` is the header of that name, the same in every attempt."""

    id: str
    event: str
    status: Literal["waiting", "delivered", "failed"] | str
    webhook_id: str | None = None
    endpoint_id: str | None = None
    url: str | None = None
    error: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    next_try_at: datetime | None = None
    attempts: list[dict[str, Any]] = []
