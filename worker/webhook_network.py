"""Connections to receivers: each to an address that was checked, whatever its name means a moment later."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import certifi
import httpcore

from worker.deliveries import Fault

_CONNECT_SECONDS = 5.0


Dial = Callable[[str, int], Awaitable[httpcore.AsyncNetworkStream]]
"""Connects to an address and port; raises httpcore.ConnectError or ConnectTimeout."""


class AttemptFailed(Exception):
    """Why the receiver could not be reached. `detail` is for its owner."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault, self.detail = fault, detail


async def dial(address: str, port: int) -> httpcore.AsyncNetworkStream:
    """A connection of this process's own."""
    return await httpcore.AnyIOBackend().connect_tcp(address, port, timeout=_CONNECT_SECONDS)


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificates checked against these CAs, or the public ones."""
    context = ssl.create_default_context(cafile=ca_file or certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that were checked, whatever name it is given; to the name itself for a proxy."""

    def __init__(self, connect: Dial, addresses: Sequence[str]) -> None:
        self._dial, self._addresses = connect, addresses

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  (httpcore's signature)
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        *others, last = self._addresses or [host]
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return _Stream(await self._dial(address, port))
        return _Stream(await self._dial(last, port))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection whose failure to speak TLS is told from a failure to connect."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except httpcore.ConnectError as error:
            raise AttemptFailed(Fault.TLS, f"TLS failed: {reason_of(error)}.") from None

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def disconnected() -> AttemptFailed:
    return AttemptFailed(Fault.DISCONNECTED, "The connection ended before the answer was whole.")


def reason_of(error: Exception) -> str:
    """What is wrong with the certificate, or with the connection, in few words."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    if isinstance(cause, ssl.SSLError):
        return (cause.reason or "no handshake").lower().replace("_", " ")
    if isinstance(error, httpcore.ConnectTimeout):
        return "nobody answered in time"
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__
    return "the connection was closed"
