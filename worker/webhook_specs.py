"""What is asked of webhooks: events, and where a job's events are to go."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class WebhookEvent(StrEnum):
    JOB_STARTED = "job.started"  # a worker has begun the job's first attempt
    JOB_SUCCEEDED = "job.succeeded"  # the job has ended so
    JOB_FAILED = "job.failed"  # the job has ended so; `data.error` says why
    JOB_CANCELED = "job.canceled"  # the job has ended so
    EXPORT_READY = "dataset.export.ready"  # an export of a data set can be downloaded


ALL_EVENTS = tuple(WebhookEvent)
EXPORT_EVENTS = (
    WebhookEvent.JOB_FAILED,
    WebhookEvent.EXPORT_READY,
)  # of exports that a data set brings along


def _each_once(events: tuple[WebhookEvent, ...]) -> tuple[WebhookEvent, ...]:
    return tuple(event for event in WebhookEvent if event in events)


def _as_tuple(value: Any) -> Any:
    """Behind another validator strict reading would take a list for something else."""
    return tuple(value) if isinstance(value, list) else value


Events = Annotated[
    tuple[WebhookEvent, ...],
    Field(min_length=1, max_length=2 * len(ALL_EVENTS)),
    BeforeValidator(_as_tuple),
    AfterValidator(_each_once),
]


class WebhookRequest(BaseModel):
    """Where the events of one job go. The URL becomes an endpoint of the tenant's, which has the signing secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="https, a public address; at most 2,048 characters")
    events: Events = Field(ALL_EVENTS, description="default: all of them")


class JobWebhook(BaseModel):
    """An endpoint that is told of a job: it asked for it, or the tenant's endpoint hears of every job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint_id: str
    url: str
    events: tuple[WebhookEvent, ...]


def merged_webhooks(found: list[JobWebhook]) -> tuple[JobWebhook, ...]:
    """Each endpoint once, with every event that it is to hear of."""
    by_id: dict[str, JobWebhook] = {}
    for one in found:
        known = by_id.get(one.endpoint_id, one)
        by_id[one.endpoint_id] = one.model_copy(update={"events": _each_once((*known.events, *one.events))})
    return tuple(by_id.values())


def for_exports(webhooks: tuple[JobWebhook, ...]) -> tuple[JobWebhook, ...]:
    """Of a data set's webhooks, what the exports that it brings along are to tell."""
    kept = [
        one.model_copy(update={"events": tuple(event for event in one.events if event in EXPORT_EVENTS)})
        for one in webhooks
    ]
    return tuple(one for one in kept if one.events)
