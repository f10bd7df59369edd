"""One attempt to call a receiver: resolved, checked and connected to the very address that was checked.

Redirects are not followed, no proxy is taken from the environment, nothing of an answer is kept but its status; the
whole exchange has one deadline, and 64 KB of the answer are read.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

import httpcore
from standardwebhooks import Webhook

from models.errors import InvalidInput
from worker.deliveries import DeliveryAttempt, Fault
from worker.jobs import now
from worker.name_lookup import NameLookup
from worker.settings import Settings
from worker.webhook_network import (
    AttemptFailed,
    CheckedNetwork,
    Dial,
    dial,
    disconnected,
    reason_of,
    tls_context,
)
from worker.webhook_rules import WebhookRules
from worker.webhook_urls import Address, Target

MAX_ANSWER_BYTES = 65_536
MOST_RETRY_AFTER_SECONDS = 86_400
_MOST_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. `retry_after_seconds`: how long one that answers 429 or 503 wants to be spared."""

    attempt: DeliveryAttempt
    retry_after_seconds: float | None = None

    @property
    def delivered(self) -> bool:
        return self.attempt.error is None


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: its id, the exact body, and the secrets that sign it."""

    id: str
    body: str
    secrets: Sequence[str]


@dataclass(frozen=True, slots=True)
class Courier:
    """What it takes to call receivers, wired once a process."""

    rules: WebhookRules
    lookup: NameLookup
    tls: ssl.SSLContext
    seconds: float
    proxy: str | None = None
    dial: Dial = dial

    async def send(self, url: str, message: Message) -> Answer:
        """Calls the receiver once. Never raises for what a receiver does."""
        at, began = now(), time.monotonic()
        status = retry_after = None
        fault: Fault | None = None
        detail: str | None = None
        try:
            async with asyncio.timeout(self.seconds):
                status, retry_after = await self._exchange(url, message, at)
            fault, detail = _fault_of(status)
        except TimeoutError:
            fault, detail = Fault.TIMEOUT, f"There was no whole answer within {self.seconds:g} s."
        except AttemptFailed as error:
            fault, detail = error.fault, error.detail
        attempt = DeliveryAttempt(
            at=at, seconds=round(time.monotonic() - began, 3), status=status, error=fault, detail=detail
        )
        wait = _retry_after(retry_after, at) if status in {429, 503} else None
        return Answer(attempt, wait)

    async def _exchange(self, url: str, message: Message, at: datetime) -> tuple[int, str | None]:
        """The status, and the Retry-After header."""
        try:
            target = self.rules.check_url(url)
            addresses = await self._addresses(target)
        except InvalidInput as error:
            raise AttemptFailed(Fault.URL_NOT_ALLOWED, error.message) from None
        request = _request(target, message, at)
        connection = self._connection(target, addresses)
        try:
            response = await connection.handle_async_request(request)
            try:
                await _read_some(response)
            finally:
                with suppress(Exception):
                    await response.aclose()
            return response.status, _header(response, b"retry-after")
        except httpcore.ProxyError as error:
            raise AttemptFailed(Fault.PROXY, f"The egress proxy answered {error}.") from None
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise AttemptFailed(Fault.CONNECT, f"No connection: {reason_of(error)}.") from None
        except (httpcore.RemoteProtocolError, httpcore.LocalProtocolError) as error:
            if "disconnected" in str(error):
                raise disconnected() from None
            raise AttemptFailed(Fault.PROTOCOL, "The answer is not HTTP/1.1.") from None
        except httpcore.NetworkError:
            raise disconnected() from None
        finally:
            with suppress(Exception):
                await connection.aclose()

    async def _addresses(self, target: Target) -> list[Address]:
        """Where to connect to, every one of them allowed; empty where a proxy does it."""
        if self.rules.by_proxy:
            return []
        if target.address is not None:
            return self.rules.check_addresses([target.address])
        try:
            found = await self.lookup.addresses_async(target.host)
        except TimeoutError:
            raise AttemptFailed(Fault.DNS, "The host could not be resolved in time.") from None
        except OSError:
            raise AttemptFailed(Fault.DNS, "The host cannot be resolved.") from None
        return self.rules.check_addresses(found)[:_MOST_ADDRESSES]

    def _connection(
        self, target: Target, addresses: list[Address]
    ) -> httpcore.AsyncHTTPConnection | httpcore.AsyncHTTPProxy:
        backend = CheckedNetwork(self.dial, [str(address) for address in addresses])
        if self.proxy is None:
            return httpcore.AsyncHTTPConnection(
                _origin(target), ssl_context=self.tls, network_backend=backend
            )
        parts = urlsplit(self.proxy)
        login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        return httpcore.AsyncHTTPProxy(
            f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}",
            proxy_auth=login,
            ssl_context=self.tls,
            proxy_ssl_context=self.tls if parts.scheme == "https" else None,
            max_connections=1,
            network_backend=backend,
        )


def courier_of(
    settings: Settings, rules: WebhookRules, lookup: NameLookup, *, dial_with: Dial = dial
) -> Courier:
    """What the settings make. Raises OSError for a CA file that cannot be read."""
    proxy = settings.webhook_proxy
    return Courier(
        rules=rules,
        lookup=lookup,
        tls=tls_context(str(settings.webhook_ca_file) if settings.webhook_ca_file else None),
        seconds=settings.webhook_timeout_seconds,
        proxy=proxy.get_secret_value() if proxy else None,
        dial=dial_with,
    )


def signed_headers(message: Message, at: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks: one signature for each secret that is valid."""
    signatures = [Webhook(secret).sign(message.id, at, message.body) for secret in message.secrets]
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _origin(target: Target) -> httpcore.Origin:
    return httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)


def _request(target: Target, message: Message, at: datetime) -> httpcore.Request:
    body = message.body.encode()
    headers = {
        "Host": target.authority,
        "User-Agent": "EarthSynth-Webhooks/1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **signed_headers(message, at),
    }
    url = httpcore.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.path.encode(),
    )
    return httpcore.Request("POST", url, headers=list(headers.items()), content=body)


async def _read_some(response: httpcore.Response) -> None:
    """Reads the answer's body, so that a receiver can say it all, and not more than 64 KB of it."""
    seen = 0
    async for piece in response.aiter_stream():
        seen += len(piece)
        if seen >= MAX_ANSWER_BYTES:
            return


def _header(response: httpcore.Response, wanted: bytes) -> str | None:
    values = [value for name, value in response.headers if name.lower() == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else None


def _fault_of(status: int) -> tuple[Fault | None, str | None]:
    if 200 <= status < 300:
        return None, None
    if 300 <= status < 400:
        return (
            Fault.REDIRECT,
            f"The receiver answered {status}; redirects are not followed: register the new URL.",
        )
    if status == 410:
        return Fault.GONE, "The receiver answered 410 Gone."
    return Fault.STATUS, f"The receiver answered {status}."


def _retry_after(value: str | None, at: datetime) -> float | None:
    """Seconds, at most a day; None for what is no time to come (RFC 9110: a number, or a date)."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 20:
        seconds = float(text)
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        seconds = (moment - at) / timedelta(seconds=1)
    return min(seconds, MOST_RETRY_AFTER_SECONDS) if seconds > 0 else None
