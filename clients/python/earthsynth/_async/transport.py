"""Requests over httpx: sent again while that may help, with the same idempotency key, and errors as ours."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

from earthsynth._answers import broken, redirected, refusal
from earthsynth._async import pauses
from earthsynth._requests import Request, close, content
from earthsynth._settings import Settings, with_read
from earthsynth.errors import EarthSynthError
from earthsynth.retries import Retries, RetryPolicy

log = logging.getLogger("earthsynth")
_STREAM_READ_SECONDS = 40.0  # events come with a sign of life every 15 s

Sleep = Callable[[float], Awaitable[object]]


class AsyncTransport:
    """One service. `http` belongs to the caller where it was given."""

    def __init__(
        self,
        settings: Settings,
        http: httpx.AsyncClient | None = None,
        *,
        retries: Retries | None = None,
        sleep: Sleep = pauses.sleep,
    ) -> None:
        self.settings, self._sleep, self._own_retries = settings, sleep, retries
        self.retries = retries or RetryPolicy(settings.max_retries, random.random)
        self._given = http
        self._http = http or httpx.AsyncClient(timeout=settings.timeout)

    def changed(self, settings: Settings) -> AsyncTransport:
        """The same connections under other settings."""
        return AsyncTransport(settings, self._http, retries=self._own_retries, sleep=self._sleep)

    async def aclose(self) -> None:
        """Closes the connections, unless they are the caller's."""
        if self._given is None:
            await self._http.aclose()

    async def send(self, request: Request, *, patient: bool = False) -> httpx.Response:
        """The good answer, read to its end. `patient`: for whoever waits for a job anyway.

        Raises APIError and its classes, APIConnectionError, UnexpectedAnswer, RequestError.
        """
        retries = self.retries.patient() if patient else self.retries
        attempt = 0
        while True:
            try:
                return await self._once(request)
            except EarthSynthError as failure:
                pause = retries.pause(failure, attempt)
                if pause is None:
                    raise
                await self.rest(failure, pause)
            attempt += 1

    async def rest(self, failure: EarthSynthError, seconds: float) -> None:
        """Sleeps before the next attempt."""
        log.debug("trying again in %.2f s: %s", seconds, failure)
        await self._sleep(seconds)

    async def _once(self, request: Request) -> httpx.Response:
        arguments: dict[str, object] = {}
        try:
            headers, arguments = content(request)
            built = self._build(request, headers, self._timeout(request), arguments)
            response = await self._http.send(built, follow_redirects=False)
        except httpx.TransportError as error:
            raise broken(error, self.settings.base_url, f"{request.method} {request.path}") from error
        finally:
            close(arguments)
        if response.is_error:
            raise refusal(response)
        if response.is_redirect and not request.redirects:
            raise redirected(response)
        return response

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[httpx.Response]:
        """The good answer, as it comes; one attempt. Raises as `send`, in the body too."""
        timeout = with_read(self.settings.timeout, _STREAM_READ_SECONDS)
        try:
            built = self._build(request, dict(request.headers), timeout, {})
            response = await self._http.send(built, stream=True, follow_redirects=False)
            try:
                if response.is_error:
                    await response.aread()
                    raise refusal(response)
                if response.is_redirect:
                    raise redirected(response)
                yield response
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise broken(error, self.settings.base_url, f"{request.method} {request.path}") from error

    @asynccontextmanager
    async def fetch(self, url: str, have: int = 0) -> AsyncIterator[httpx.Response]:
        """The storage's answer, whatever its status, from byte `have` on; one attempt, and without the API key.

        Raises APIConnectionError, in the body too.
        """
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            built = self._http.build_request("GET", url, headers=headers, timeout=self.settings.timeout)
            built.headers.pop("Authorization", None)
            response = await self._http.send(built, stream=True, auth=None, follow_redirects=False)
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise broken(error, "the storage", f"GET {url.partition('?')[0]}") from error

    def _build(
        self, request: Request, headers: dict[str, str], timeout: httpx.Timeout, arguments: dict[str, object]
    ) -> httpx.Request:
        return self._http.build_request(
            request.method,
            self.settings.base_url + request.path,
            params=dict(request.query) or None,
            headers=self.settings.headers | headers,
            timeout=timeout,
            **arguments,  # type: ignore[arg-type]  # content, or data and files
        )

    def _timeout(self, request: Request) -> httpx.Timeout:
        own = self.settings.timeout
        if request.read_seconds is None or own.read is None:
            return own
        return with_read(own, max(own.read, request.read_seconds))
