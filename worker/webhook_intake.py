"""Where webhooks come in: checked before anything is kept, then an endpoint of the tenant's."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.errors import FieldError, InvalidInput, NotFound
from worker.name_lookup import NameLookup
from worker.remembered import Remembered
from worker.storage import Storage
from worker.webhook_endpoints import Endpoint, endpoint_id, find_endpoint, register, subscriptions
from worker.webhook_rules import WebhookRules, check_registration
from worker.webhook_specs import JobWebhook, WebhookEvent, WebhookRequest, merged_webhooks

_SUBSCRIPTIONS_SECONDS = 2.0  # for so long a new endpoint may miss the jobs that another process accepts


@dataclass(frozen=True, slots=True)
class WebhookIntake:
    """What it takes to accept webhooks, wired once a process."""

    storage: Storage
    rules: WebhookRules
    lookup: NameLookup
    _known: Remembered[str, tuple[JobWebhook, ...]] = field(
        default_factory=lambda: Remembered(_SUBSCRIPTIONS_SECONDS)
    )

    def check(self, tenant: str, url: str, *, pointer: str = "/url") -> tuple[str, Endpoint | None]:
        """The URL as we write it, if it may be called, and the endpoint there; its name is not looked up again.

        Raises InvalidInput (url_not_allowed, credentials_in_url) that points to `pointer`.
        """
        try:
            target = self.rules.check_url(url)
            known = self._find(tenant, endpoint_id(tenant, target.url))
            if known is None:
                check_registration(url, self.rules, self.lookup)
        except InvalidInput as error:
            errors = [FieldError(pointer, wrong.message) for wrong in error.errors]
            raise InvalidInput(error.message, code=error.code, errors=errors) from None
        return target.url, known

    def register(
        self,
        tenant: str,
        url: str,
        *,
        events: tuple[WebhookEvent, ...] = (),
        description: str | None = None,
    ) -> tuple[Endpoint, bool]:
        """The tenant's endpoint at the URL, which is checked; the flag says whether it is new.

        Raises InvalidInput; Conflict (too_many_webhooks).
        """
        checked, _ = self.check(tenant, url)
        found = register(self.storage, tenant, checked, events=events, description=description)
        self.forget(tenant)
        return found

    def accept(
        self, tenant: str, asked: WebhookRequest | None
    ) -> tuple[tuple[JobWebhook, ...], tuple[str, ...]]:
        """Who is told of a job that is accepted now, and what its owner should know of that. Raises InvalidInput."""
        told = list(self._known.get(tenant, lambda: subscriptions(self.storage, tenant)))
        warnings: tuple[str, ...] = ()
        if asked is not None:
            checked, known = self.check(tenant, asked.url, pointer="/webhook/url")
            endpoint = known or register(self.storage, tenant, checked)[0]
            told.append(JobWebhook(endpoint_id=endpoint.id, url=endpoint.url, events=asked.events))
            if not endpoint.enabled:
                warnings = (
                    f"Its webhook is disabled: {endpoint.disabled_reason} POST /v1/webhooks/{endpoint.id}/enable "
                    "makes it hear of jobs again.",
                )
        return merged_webhooks(told), warnings

    def forget(self, tenant: str) -> None:
        """The tenant's endpoints have changed."""
        self._known.forget(tenant)

    def _find(self, tenant: str, wanted: str) -> Endpoint | None:
        try:
            return find_endpoint(self.storage, tenant, wanted)
        except NotFound:
            return None
