"""What clients see of webhooks: endpoints, deliveries, the answer of a test call."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, model_validator

from worker.deliveries import Delivery, DeliveryAttempt, DeliveryStatus, Fault
from worker.plain_text import Text
from worker.webhook_endpoints import Endpoint
from worker.webhook_sending import Answer
from worker.webhook_specs import ALL_EVENTS, Events, WebhookEvent


class EndpointRequest(BaseModel):
    """Where the events of all jobs go from now on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="https, a public address; at most 2,048 characters")
    events: Events = Field(ALL_EVENTS, description="default: all of them")
    description: Text | None = Field(None, max_length=500)


class CallRequest(BaseModel):
    """Whom to call now: exactly one of a URL and an endpoint's id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(None, description="becomes an endpoint, so that there is a secret to sign with")
    endpoint_id: str | None = Field(None, max_length=200)

    @model_validator(mode="after")
    def _one(self) -> CallRequest:
        if (self.url is None) == (self.endpoint_id is None):
            raise ValueError("send exactly one of url and endpoint_id")
        return self


class EndpointView(BaseModel):
    """`events`: what it hears of every job; none where only single jobs name its URL in their `webhook`."""

    id: str
    url: str
    events: list[WebhookEvent]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    created_at: datetime


class EndpointWithSecretView(EndpointView):
    """`secret` is null where the endpoint was there already; GET …/secret shows it."""

    secret: str | None


class EndpointPage(BaseModel):
    items: list[EndpointView]
    next_cursor: str | None = None


class SecretView(BaseModel):
    """`previous` signs too until `previous_expires_at`."""

    secret: str
    previous: str | None
    previous_expires_at: datetime | None


class DeliveryView(BaseModel):
    """`webhook_id` is the header of that name, the same in every attempt.

    `attempts` are those since it was last asked for.
    """

    id: str
    webhook_id: str
    event: WebhookEvent
    endpoint_id: str
    url: str
    status: DeliveryStatus
    error: Fault | None
    created_at: datetime
    finished_at: datetime | None
    next_try_at: datetime | None
    attempts: list[DeliveryAttempt]


class DeliveryPage(BaseModel):
    items: list[DeliveryView]
    next_cursor: str | None = None


class CallView(BaseModel):
    """What came of a test call. `webhook_id` and `body` are what was sent; the receiver's own text is never shown."""

    endpoint_id: str
    url: str
    delivered: bool
    status: int | None
    error: Fault | None
    detail: str | None
    seconds: float
    webhook_id: str
    body: str


def endpoint_view(endpoint: Endpoint) -> EndpointView:
    return EndpointView(**_facts(endpoint))


def with_secret(endpoint: Endpoint, *, shown: bool = True) -> EndpointWithSecretView:
    return EndpointWithSecretView(**_facts(endpoint), secret=endpoint.secret if shown else None)


def secret_view(endpoint: Endpoint, at: datetime) -> SecretView:
    previous = next((one for one in endpoint.secrets[1:] if one.expires_at and one.expires_at > at), None)
    return SecretView(
        secret=endpoint.secret,
        previous=previous.secret if previous else None,
        previous_expires_at=previous.expires_at if previous else None,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    return DeliveryView.model_validate(delivery.model_dump(include=set(DeliveryView.model_fields)))


def call_view(endpoint: Endpoint, answer: Answer, *, webhook_id: str, body: str) -> CallView:
    attempt = answer.attempt
    return CallView(
        endpoint_id=endpoint.id,
        url=endpoint.url,
        delivered=answer.delivered,
        status=attempt.status,
        error=attempt.error,
        detail=attempt.detail,
        seconds=attempt.seconds,
        webhook_id=webhook_id,
        body=body,
    )


def _facts(endpoint: Endpoint) -> dict[str, object]:
    return endpoint.model_dump(include=set(EndpointView.model_fields))
