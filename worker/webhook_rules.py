"""Which URLs may be called, by this deployment's settings: the same at registration and at every attempt."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from worker.name_lookup import NameLookup
from worker.settings import Settings
from worker.webhook_addresses import plain_address, refused_address, refused_name
from worker.webhook_urls import Address, Target, not_allowed, parse_url

_INSIDE = "its host is not a public one"


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """`ports` empty: any. `own`: hosts of this service, `*.name` too, each with a port, or None for all of its ports.

    `by_proxy`: an egress proxy resolves names and connects, so that we only judge what the URL itself says.
    """

    allow_http: bool = False
    allow_private: bool = False
    ports: frozenset[int] = frozenset({443})
    own: frozenset[tuple[str, int | None]] = frozenset()
    by_proxy: bool = False

    def check_url(self, text: str) -> Target:
        """The URL's one reading, if it may be called as far as the text shows. Raises InvalidInput."""
        target = parse_url(text)
        if target.scheme != "https" and not self.allow_http:
            raise not_allowed("its scheme is http, not https")
        if self.ports and target.port not in self.ports:
            raise not_allowed(f"its port is {target.port}, not {' or '.join(map(str, sorted(self.ports)))}")
        address = target.address
        if address is not None:
            self.check_addresses([address])
        elif refused_name(target.host, allow_private=self.allow_private):
            raise not_allowed(_INSIDE)
        if self._is_ours(target):
            raise not_allowed("it is an address of this service itself")
        return target

    def check_addresses(self, found: list[Address]) -> list[Address]:
        """The addresses to connect to, all of which are allowed. Raises InvalidInput where one is not."""
        if any(refused_address(address, allow_private=self.allow_private) for address in found):
            raise not_allowed(_INSIDE)
        return [plain_address(address) for address in found]

    def _is_ours(self, target: Target) -> bool:
        labels = target.host.split(".")
        above = [".".join(labels[first:]) for first in range(1, len(labels))]
        hosts = {
            target.host,
            *above[:1],
            *(f"*.{name}" for name in above),
        }  # a bucket may stand before S3's name
        return any((host, port) in self.own for host in hosts for port in (target.port, None))


def check_registration(text: str, rules: WebhookRules, lookup: NameLookup) -> Target:
    """The URL's one reading, if it may be called now. Raises InvalidInput: url_not_allowed, credentials_in_url."""
    target = rules.check_url(text)
    if target.address is None and not rules.by_proxy:
        try:
            found = lookup.addresses(target.host)
        except OSError:
            raise not_allowed("its host cannot be resolved") from None
        rules.check_addresses(found)
    return target


def rules_of(settings: Settings) -> WebhookRules:
    """The rules that the settings make."""
    return WebhookRules(
        allow_http=settings.webhook_allow_http,
        allow_private=settings.webhook_allow_private,
        ports=frozenset(settings.webhook_port_numbers),
        own=_own(settings),
        by_proxy=settings.webhook_proxy is not None,
    )


def _own(settings: Settings) -> frozenset[tuple[str, int | None]]:
    """Where this service, and its storage, can be reached."""
    names = f"{settings.webhook_own_hosts},{settings.allowed_hosts}".split(",")
    found = {_authority(name.strip()) for name in names if name.strip()}
    found.add((settings.host, settings.port))
    for endpoint in (settings.s3_endpoint, settings.s3_public_endpoint):
        parts = urlsplit(endpoint or "")
        if parts.hostname:
            found.add((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)))
    if settings.s3_endpoint is None:
        region = settings.s3_region
        found |= {(name, None) for name in ("s3.amazonaws.com", f"s3.{region}.amazonaws.com")}
    return frozenset(entry for entry in found if entry is not None)


def _authority(text: str) -> tuple[str, int | None] | None:
    """Host and port of "host" or "host:port"; None for what is neither."""
    parts = urlsplit(f"//{text}")
    try:
        return (parts.hostname, parts.port) if parts.hostname else None
    except ValueError:
        return None
