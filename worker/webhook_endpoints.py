"""A tenant's endpoints and their secrets: in storage alone, each a log of documents of which the last one holds.

An endpoint is what a tenant has at one URL. It hears of every job of the tenant when it was registered with events,
and of single jobs that name its URL otherwise; its secrets and whether it is enabled are the same for both.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from pydantic import Field

from models.errors import Conflict, NotFound
from worker.derived_ids import derived_id
from worker.jobs import Frozen, now
from worker.layout import (
    ENDPOINT_ID,
    webhook_listed_prefix,
    webhook_prefix,
    webhook_subscription_key,
    webhook_subscriptions_prefix,
)
from worker.storage import Storage
from worker.webhook_specs import JobWebhook, WebhookEvent

OLD_SECRET_SECONDS = 86_400
MAX_SUBSCRIPTIONS = 50


class SigningSecret(Frozen):
    """`expires_at` is null for the one that was made last."""

    secret: str
    expires_at: datetime | None = None


class Endpoint(Frozen):
    """`events` are those of every job; none where only single jobs have named the URL.

    `secrets`: the current one first, then the one before it while it is valid. `revision` counts its documents.
    """

    id: str
    tenant: str
    url: str
    events: tuple[WebhookEvent, ...] = ()
    description: str | None = None
    enabled: bool = True
    disabled_reason: str | None = None
    created_at: datetime
    secrets: tuple[SigningSecret, ...] = Field(min_length=1)
    revision: int = 1

    @property
    def secret(self) -> str:
        return self.secrets[0].secret

    def valid_secrets(self, at: datetime) -> list[str]:
        """What a message of that moment is signed with."""
        return [one.secret for one in self.secrets if one.expires_at is None or one.expires_at > at]


def endpoint_id(tenant: str, url: str) -> str:
    """`url` as `Target.url` writes it."""
    return derived_id("whk_", tenant, url)


def register(
    storage: Storage,
    tenant: str,
    url: str,
    *,
    events: tuple[WebhookEvent, ...] = (),
    description: str | None = None,
) -> tuple[Endpoint, bool]:
    """The tenant's endpoint at the URL; the flag says whether it is new.

    With events it hears of every job from now on. Raises Conflict (too_many_webhooks).
    """
    found_id = endpoint_id(tenant, url)
    known = _latest(storage, tenant, found_id)
    if events:
        _subscribe(storage, tenant, found_id)
    if known is None:
        fresh = Endpoint(
            id=found_id,
            tenant=tenant,
            url=url,
            events=events,
            description=description,
            created_at=now(),
            secrets=(SigningSecret(secret=_new_secret()),),
        )
        storage.create(_listed_key(fresh), b"{}", "application/json")
        if _append(storage, fresh):
            return fresh, True
    if not events:
        return find_endpoint(storage, tenant, found_id), False
    asked = {"events": events, "description": description}
    return change(storage, tenant, found_id, lambda it: it.model_copy(update=asked)), False


def find_endpoint(storage: Storage, tenant: str, wanted: str) -> Endpoint:
    """Raises NotFound: absent, deleted, or not this tenant's."""
    found = _latest(storage, tenant, wanted) if ENDPOINT_ID.fullmatch(wanted) else None
    if found is None:
        raise _absent()
    return found


def change(storage: Storage, tenant: str, wanted: str, alter: Callable[[Endpoint], Endpoint]) -> Endpoint:
    """The endpoint as `alter` makes it, applied again when another process came between. Raises NotFound."""
    while True:
        known = find_endpoint(storage, tenant, wanted)
        altered = alter(known)
        if altered == known:
            return known
        altered = altered.model_copy(update={"revision": known.revision + 1})
        if _append(storage, altered):
            return altered


def rotated(endpoint: Endpoint) -> Endpoint:
    """With a new secret; the one before it signs too for a day, and any older one no more."""
    at = now()
    before = SigningSecret(secret=endpoint.secret, expires_at=at + timedelta(seconds=OLD_SECRET_SECONDS))
    return endpoint.model_copy(update={"secrets": (SigningSecret(secret=_new_secret()), before)})


def enabled(endpoint: Endpoint) -> Endpoint:
    return endpoint.model_copy(update={"enabled": True, "disabled_reason": None})


def disabled(endpoint: Endpoint, reason: str) -> Endpoint:
    """The reason is a sentence for its owner; of two the first is kept."""
    if not endpoint.enabled:
        return endpoint
    return endpoint.model_copy(update={"enabled": False, "disabled_reason": reason})


def delete_endpoint(storage: Storage, tenant: str, wanted: str) -> None:
    """Forgets the endpoint and its secrets. Raises NotFound."""
    known = find_endpoint(storage, tenant, wanted)
    storage.delete(webhook_subscription_key(tenant, wanted))
    storage.delete(_listed_key(known))
    storage.delete(webhook_prefix(tenant, wanted))


def list_endpoints(storage: Storage, tenant: str, *, before: str | None = None) -> Iterator[Endpoint]:
    """The tenant's endpoints, newest first, after the one whose place (see `place`) is `before`."""
    prefix = webhook_listed_prefix(tenant)
    places = [key.removeprefix(prefix) for key in storage.keys(prefix)]
    for found in reversed(places):
        if before is not None and found >= before:
            continue
        endpoint = _latest(storage, tenant, found.rpartition("-")[2])
        if endpoint is not None and place(endpoint) == found:  # else registered again, or never in full
            yield endpoint


def place(endpoint: Endpoint) -> str:
    """Where the endpoint stands in the list: sorts by the time of its creation."""
    return f"{round(endpoint.created_at.timestamp() * 1000):013d}-{endpoint.id}"


def subscriptions(storage: Storage, tenant: str) -> tuple[JobWebhook, ...]:
    """The endpoints that hear of every job of the tenant."""
    prefix = webhook_subscriptions_prefix(tenant)
    found = []
    for key in storage.keys(prefix):
        with suppress(NotFound):
            endpoint = find_endpoint(storage, tenant, key.removeprefix(prefix))
            if endpoint.events:
                found.append(JobWebhook(endpoint_id=endpoint.id, url=endpoint.url, events=endpoint.events))
    return tuple(found)


def _subscribe(storage: Storage, tenant: str, wanted: str) -> None:
    key = webhook_subscription_key(tenant, wanted)
    others = [known for known in storage.keys(webhook_subscriptions_prefix(tenant)) if known != key]
    if len(others) >= MAX_SUBSCRIPTIONS:
        raise Conflict(
            f"{MAX_SUBSCRIPTIONS} endpoints hear of every job already. Delete one of them first.",
            code="too_many_webhooks",
        )
    storage.create(key, b"{}", "application/json")


def _latest(storage: Storage, tenant: str, wanted: str) -> Endpoint | None:
    key = max(storage.keys(webhook_prefix(tenant, wanted)), default=None)
    if key is None:
        return None
    try:
        return Endpoint.model_validate_json(storage.read(key))
    except NotFound:  # deleted between the two
        return None


def _append(storage: Storage, endpoint: Endpoint) -> bool:
    """False when another process has written that revision first."""
    key = f"{webhook_prefix(endpoint.tenant, endpoint.id)}{endpoint.revision:06d}.json"
    return storage.create(key, endpoint.model_dump_json().encode(), "application/json")


def _listed_key(endpoint: Endpoint) -> str:
    return webhook_listed_prefix(endpoint.tenant) + place(endpoint)


def _new_secret() -> str:
    """`whsec_` and 32 random bytes in base64, as Standard Webhooks asks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _absent() -> NotFound:
    return NotFound("There is no such webhook endpoint.", code="webhook_not_found")
