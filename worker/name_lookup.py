"""Names resolved within a time limit: the system's resolver has none that can be relied on."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookupTimeout

from worker.webhook_urls import Address

Resolve = Callable[[str], Sequence[str]]
"""Addresses of a name as text; raises OSError. It may block."""

LOOKUP_SECONDS = 5.0
_THREADS = 64


def resolve_by_system(host: str) -> list[str]:
    """What the system's resolver says, each address once, in its order."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class NameLookup:
    """Runs a resolver on threads of its own, and waits for no answer longer than `seconds`.

    A thread whose answer nobody waits for any more ends with the resolver's own time-out.
    """

    def __init__(self, resolve: Resolve = resolve_by_system, seconds: float = LOOKUP_SECONDS) -> None:
        self._resolve, self._seconds = resolve, seconds
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="lookup")

    def addresses(self, host: str) -> list[Address]:
        """Every address of the name. Raises OSError, TimeoutError among them."""
        try:
            return _parsed(self._start(host).result(self._seconds))
        except LookupTimeout:
            raise TimeoutError(f"no answer within {self._seconds:g} s") from None

    async def addresses_async(self, host: str) -> list[Address]:
        """The same, for an event loop."""
        async with asyncio.timeout(self._seconds):
            return _parsed(await asyncio.wrap_future(self._start(host)))

    def close(self) -> None:
        """Lets the threads end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, host: str) -> Future[Sequence[str]]:
        return self._threads.submit(self._resolve, host)


def _parsed(found: Sequence[str]) -> list[Address]:
    if not found:
        raise OSError("the name has no address")
    return [ipaddress.ip_address(text) for text in found]
