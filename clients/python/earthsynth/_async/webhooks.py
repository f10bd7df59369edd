"""Webhook endpoints: where events go. What they carry is verified by `earthsynth.webhooks.verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from earthsynth._answers import parse
from earthsynth._async.pages import AsyncPager
from earthsynth._requests import delete, get, post, segment
from earthsynth.types.webhooks import WebhookCall, WebhookEndpoint, WebhookSecret

if TYPE_CHECKING:
    from earthsynth._async.client import AsyncEarthSynth

_PATH = "/v1/webhooks"


class AsyncWebhooks:
    """`client.webhooks`"""

    def __init__(self, client: AsyncEarthSynth) -> None:
        self._client = client

    async def create(
        self,
        url: str,
        events: Sequence[str] | None = None,
        *,
        description: str | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookEndpoint:
        """Registers a URL for the events of every job from now on; keep its `secret`. None: all events.

        The same URL again changes its events and description, and its `secret` is None: see `secret`.
        """
        body = {
            "url": url,
            "events": None if events is None else list(events),
            "description": description,
            "idempotency_key": idempotency_key,
        }
        return parse(WebhookEndpoint, await self._client._transport.send(post(_PATH, body)))

    def list(self) -> AsyncPager[WebhookEndpoint]:
        """Your endpoints, newest first: those made here, and those that jobs have named."""
        return AsyncPager(self._client._transport, _PATH, WebhookEndpoint.model_validate)

    async def get(self, endpoint_id: str) -> WebhookEndpoint:
        """One endpoint."""
        return parse(WebhookEndpoint, await self._client._transport.send(get(_place(endpoint_id))))

    async def secret(self, endpoint_id: str) -> WebhookSecret:
        """What messages to the endpoint are signed with: for `earthsynth.webhooks.verify`."""
        request = get(f"{_place(endpoint_id)}/secret")
        return parse(WebhookSecret, await self._client._transport.send(request))

    async def rotate(self, endpoint_id: str) -> WebhookEndpoint:
        """Gives the endpoint a new `secret`; for a day messages carry both signatures."""
        request = post(f"{_place(endpoint_id)}/rotate-secret")
        return parse(WebhookEndpoint, await self._client._transport.send(request))

    async def enable(self, endpoint_id: str) -> WebhookEndpoint:
        """Lets an endpoint that answered 410 hear of jobs again."""
        request = post(f"{_place(endpoint_id)}/enable")
        return parse(WebhookEndpoint, await self._client._transport.send(request))

    async def delete(self, endpoint_id: str) -> None:
        """Forgets the endpoint and its secret."""
        await self._client._transport.send(delete(_place(endpoint_id)))

    async def test(self, *, endpoint_id: str | None = None, url: str | None = None) -> WebhookCall:
        """Calls the receiver once, now, with a signed message of type `webhook.test`; what came back."""
        request = post(f"{_PATH}/test", {"endpoint_id": endpoint_id, "url": url})
        return parse(WebhookCall, await self._client._transport.send(request))


def _place(endpoint_id: str) -> str:
    return f"{_PATH}/{segment(endpoint_id, 'the endpoint id')}"
