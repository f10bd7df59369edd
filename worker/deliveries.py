"""Deliveries: what a job's events have to tell to whom, how far that is, and how it ended.

Ids follow from the job, the event and the endpoint, so that whoever finds out about an event, and however often,
makes the same delivery of it. A delivery under way is in Redis alone; how it ended is a document in storage.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import to_json

from worker.derived_ids import derived_id
from worker.jobs import Frozen, Job, JobKind, JobStatus, now
from worker.webhook_specs import WebhookEvent

_OF_STATUS = {
    JobStatus.SUCCEEDED: WebhookEvent.JOB_SUCCEEDED,
    JobStatus.FAILED: WebhookEvent.JOB_FAILED,
    JobStatus.CANCELED: WebhookEvent.JOB_CANCELED,
}


class DeliveryStatus(StrEnum):
    PENDING = "pending"  # not told yet; `next_try_at` says when it is tried
    DELIVERED = "delivered"  # the receiver has answered 2xx
    FAILED = "failed"  # given up; `error` says why


class Fault(StrEnum):
    """Why an attempt failed, or why there was none."""

    URL_NOT_ALLOWED = "url_not_allowed"  # the URL, or an address of its name, may not be called (any more)
    DNS = "dns"  # the name cannot be resolved, or not in time
    CONNECT = "connect"  # nobody accepts the connection
    PROXY = "proxy"  # the egress proxy refuses it
    TLS = "tls"  # no TLS 1.2, or a certificate that is not valid for that name
    TIMEOUT = "timeout"  # no whole answer in time
    DISCONNECTED = "disconnected"  # the connection ended before the answer
    PROTOCOL = "protocol"  # the answer is not HTTP/1.1
    REDIRECT = "redirect"  # 3xx, which is never followed
    STATUS = "status"  # another status than 2xx
    GONE = "gone"  # 410: the endpoint is disabled
    ENDPOINT_DISABLED = "endpoint_disabled"  # it was disabled before this could be told
    ENDPOINT_DELETED = "endpoint_deleted"  # likewise


class DeliveryAttempt(Frozen):
    """One try. `status` is the receiver's HTTP status, where it gave one; `error` is null for a success."""

    at: datetime
    seconds: float
    status: int | None = None
    error: Fault | None = None
    detail: str | None = None


class Delivery(Frozen):
    """`webhook_id` is the event's own, `body` the exact bytes that are signed; both stay the same in every attempt.

    `number` counts the times that it was asked for again; `attempts` are those since then.
    """

    id: str
    webhook_id: str
    tenant: str
    job_id: str
    event: WebhookEvent
    endpoint_id: str
    url: str
    body: str
    created_at: datetime
    number: int = 0
    attempts: tuple[DeliveryAttempt, ...] = ()
    status: DeliveryStatus = DeliveryStatus.PENDING
    error: Fault | None = None
    next_try_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def lane(self) -> str:
        """Deliveries of one tenant to one host wait in one line: "tenant host"."""
        return f"{self.tenant} {urlsplit(self.url).hostname or '-'}"

    def ended(self, status: DeliveryStatus, error: Fault | None = None) -> Delivery:
        changes = {"status": status, "error": error, "next_try_at": None, "finished_at": now()}
        return self.model_copy(update=changes)

    def again(self) -> Delivery:
        """The same message, to be told once more from the beginning of the schedule."""
        changes = {"number": self.number + 1, "attempts": (), "status": DeliveryStatus.PENDING}
        return self.model_copy(update=changes | {"error": None, "finished_at": None, "next_try_at": now()})


def webhook_id(job_id: str, event: WebhookEvent) -> str:
    """The message's id, for whatever endpoint: receivers know by it what they have seen."""
    return derived_id("msg_", job_id, event)


def delivery_id(job_id: str, event: WebhookEvent, endpoint_id: str) -> str:
    return derived_id("dlv_", job_id, event, endpoint_id)


def events_between(known: Job | None, changed: Job) -> list[WebhookEvent]:
    """What has happened when the record moves so. `known` is None where Redis knew nothing: it may have lost some."""
    found = []
    began = changed.started_at is not None and changed.status is not JobStatus.QUEUED
    if began and (known is None or known.status is JobStatus.QUEUED):
        found.append(WebhookEvent.JOB_STARTED)
    if changed.ended and (known is None or not known.ended):
        found.append(_OF_STATUS[changed.status])
        if changed.kind is JobKind.EXPORT and changed.status is JobStatus.SUCCEEDED:
            found.append(WebhookEvent.EXPORT_READY)
    return found


def deliveries_of(known: Job | None, changed: Job) -> list[Delivery]:
    """What must be told, and to whom, when the record moves from `known` to `changed`."""
    if not changed.webhooks:
        return []
    return [
        new_delivery(changed, event, one.endpoint_id, one.url)
        for event in events_between(known, changed)
        for one in changed.webhooks
        if event in one.events
    ]


def new_delivery(job: Job, event: WebhookEvent, endpoint_id: str, url: str) -> Delivery:
    at = now()
    return Delivery(
        id=delivery_id(job.id, event, endpoint_id),
        webhook_id=webhook_id(job.id, event),
        tenant=job.tenant,
        job_id=job.id,
        event=event,
        endpoint_id=endpoint_id,
        url=url,
        body=payload(job, event),
        created_at=at,
        next_try_at=at,
    )


def payload(job: Job, event: WebhookEvent) -> str:
    """The message: `type`, `timestamp` (of the event) and `data`, the job as GET shows it, without its request."""
    started = event is WebhookEvent.JOB_STARTED
    data: dict[str, Any] = {
        "id": job.id,
        "kind": job.kind,
        "status": JobStatus.RUNNING if started else job.status,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": None if started else job.finished_at,
        "model": job.model,
        "custom_id": job.custom_id,
        "metadata": job.metadata,
        "links": {
            "self": f"/v1/jobs/{job.id}",
            "events": f"/v1/jobs/{job.id}/events",
            "results": f"/v1/jobs/{job.id}/results",
        },
    }
    if not started:
        data |= {"counts": job.counts, "warnings": job.warnings, "error": job.error}
    if job.kind is JobKind.EXPORT:
        dataset = job.request.get("dataset_id")
        data["export"] = {
            "dataset_id": dataset,
            "format": job.request.get("options", {}).get("format"),
            "self": f"/v1/datasets/{dataset}/exports/{job.id}",
        }
    at = job.started_at if started else job.finished_at
    return to_json({"type": event, "timestamp": at, "data": data}).decode()
