"""/v1/webhooks: who is told what happens to jobs."""

from __future__ import annotations

import secrets
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from app.auth import Reads, Writes
from app.bodies import parse_json
from app.dependencies import AppResources, Resources, id_in_path
from app.idempotency import Repeats
from app.openapi import json_body, refusals, success
from app.pages import Cursor, Limit, cursor_after, place_of
from app.webhook_views import (
    CallRequest,
    CallView,
    EndpointPage,
    EndpointRequest,
    EndpointView,
    EndpointWithSecretView,
    SecretView,
    call_view,
    endpoint_view,
    secret_view,
    with_secret,
)
from worker.derived_ids import derived_id
from worker.jobs import now
from worker.layout import ENDPOINT_ID
from worker.webhook_endpoints import (
    Endpoint,
    change,
    delete_endpoint,
    enabled,
    find_endpoint,
    list_endpoints,
    place,
    rotated,
)
from worker.webhook_sending import Message

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
EndpointId = Annotated[str, id_in_path("whk_ and 26 characters", ENDPOINT_ID)]


@router.post(
    "",
    status_code=201,
    response_model=EndpointWithSecretView,
    responses=success(200, "you had this URL already; its events are now these", model=EndpointWithSecretView)
    | refusals(400, 409, 413, 415, 422, 503),
    openapi_extra=json_body(EndpointRequest),
)
async def create_webhook(
    request: Request, response: Response, found: Resources, tenant: Writes, once: Repeats
) -> EndpointWithSecretView | Response:
    """Registers a URL for the events of every job that is accepted from now on. The answer has the signing secret.

    The same URL again changes its events and description. Messages follow Standard Webhooks: docs/webhooks.md.
    """
    asked = await parse_json(request, EndpointRequest)
    return await once.answer(asked, lambda: _register(found, response, tenant, asked))


@router.get("", response_model=EndpointPage, responses=refusals(422, 503))
def list_webhooks(found: Resources, tenant: Reads, limit: Limit = 50, cursor: Cursor = None) -> EndpointPage:
    """Your endpoints, newest first: those registered here, and those that jobs have named."""
    before = place_of(cursor, tenant, "webhooks")
    page = list(islice(list_endpoints(found.intake.storage, tenant, before=before), limit + 1))
    more = cursor_after(place(page[limit - 1]), tenant, "webhooks") if len(page) > limit else None
    return EndpointPage(items=[endpoint_view(one) for one in page[:limit]], next_cursor=more)


@router.post(
    "/test",
    response_model=CallView,
    responses=refusals(400, 404, 409, 413, 415, 422, 503),
    openapi_extra=json_body(CallRequest),
)
async def test_webhook(
    request: Request, found: Resources, tenant: Writes, once: Repeats
) -> CallView | Response:
    """Calls the receiver once, now, with a signed message of type `webhook.test`, and says what came back."""
    asked = await parse_json(request, CallRequest)
    return await once.answer_of(asked, lambda: _call(found, tenant, asked))


@router.get("/{endpoint_id}", response_model=EndpointView, responses=refusals(404, 422, 503))
def get_webhook(endpoint_id: EndpointId, found: Resources, tenant: Reads) -> EndpointView:
    """The endpoint; `disabled_reason` says why it hears of nothing."""
    return endpoint_view(find_endpoint(found.intake.storage, tenant, endpoint_id))


@router.delete("/{endpoint_id}", status_code=204, responses=refusals(404, 422, 503))
def delete_webhook(endpoint_id: EndpointId, found: Resources, tenant: Writes) -> None:
    """Forgets the endpoint and its secret; what has not been told yet is not told any more."""
    delete_endpoint(found.intake.storage, tenant, endpoint_id)
    found.webhooks.forget(tenant)


@router.get("/{endpoint_id}/secret", response_model=SecretView, responses=refusals(404, 422, 503))
def get_webhook_secret(endpoint_id: EndpointId, found: Resources, tenant: Writes) -> SecretView:
    """What messages to this endpoint are signed with. A key that may only read does not see it."""
    return secret_view(find_endpoint(found.intake.storage, tenant, endpoint_id), now())


@router.post(
    "/{endpoint_id}/rotate-secret",
    response_model=EndpointWithSecretView,
    responses=refusals(400, 404, 409, 422, 503),
)
async def rotate_webhook_secret(
    endpoint_id: EndpointId, found: Resources, tenant: Writes, once: Repeats
) -> EndpointWithSecretView | Response:
    """Makes a new secret. For 24 hours messages carry two signatures, so that a receiver may change over in peace."""

    def rotate() -> EndpointWithSecretView:
        return with_secret(change(found.intake.storage, tenant, endpoint_id, rotated))

    return await once.answer(None, rotate)


@router.post(
    "/{endpoint_id}/enable", response_model=EndpointView, responses=refusals(400, 404, 409, 422, 503)
)
async def enable_webhook(
    endpoint_id: EndpointId, found: Resources, tenant: Writes, once: Repeats
) -> EndpointView | Response:
    """Lets an endpoint that answered 410 hear of jobs again; what it has missed can be redelivered."""

    def enable() -> EndpointView:
        return endpoint_view(change(found.intake.storage, tenant, endpoint_id, enabled))

    return await once.answer(None, enable)


def _register(
    found: AppResources, response: Response, tenant: str, asked: EndpointRequest
) -> EndpointWithSecretView:
    endpoint, created = found.webhooks.register(
        tenant, asked.url, events=asked.events, description=asked.description
    )
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/v1/webhooks/{endpoint.id}"
    return with_secret(endpoint, shown=created)


async def _call(found: AppResources, tenant: str, asked: CallRequest) -> CallView:
    endpoint = await run_in_threadpool(_to_call, found, tenant, asked)
    at = now()
    data = {"endpoint_id": endpoint.id, "message": "A test: no job has changed."}
    body = to_json({"type": "webhook.test", "timestamp": at, "data": data}).decode()
    message = Message(derived_id("msg_", secrets.token_hex(16)), body, endpoint.valid_secrets(at))
    async with found.courier_limiter:
        answer = await found.courier.send(endpoint.url, message)
    return call_view(endpoint, answer, webhook_id=message.id, body=body)


def _to_call(found: AppResources, tenant: str, asked: CallRequest) -> Endpoint:
    if asked.endpoint_id is not None:
        return find_endpoint(found.intake.storage, tenant, asked.endpoint_id)
    return found.webhooks.register(tenant, asked.url or "")[0]
