"""The client: settings, and a door to every resource."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import TracebackType
from typing import Any, Self

import httpx

from earthsynth._answers import items, json_of, parse
from earthsynth._async.datasets import AsyncDatasets
from earthsynth._async.files import AsyncFiles
from earthsynth._async.generations import AsyncGenerations
from earthsynth._async.jobs import AsyncJobs
from earthsynth._async.masks import AsyncMasks, AsyncMaskSets
from earthsynth._async.models import AsyncModels
from earthsynth._async.training_sets import AsyncTrainingSets
from earthsynth._async.trainings import AsyncTrainings
from earthsynth._async.transport import AsyncTransport
from earthsynth._async.webhooks import AsyncWebhooks
from earthsynth._requests import Request, delete, get, post
from earthsynth._settings import DEFAULT_MAX_RETRIES, settings_of
from earthsynth.errors import RequestError
from earthsynth.retries import Retries
from earthsynth.types.catalogue import Capabilities, Category, Ontology, Usage, Worker


class AsyncEarthSynth:
    """A client of one EarthSynth service.

        async with AsyncEarthSynth() as client:
            generation = await client.generate("mask.png", num_images=4, wait=True)
            await generation.save("pictures")

    `base_url`: default EARTHSYNTH_URL, else http://127.0.0.1:8000. `api_key`: default EARTHSYNTH_API_KEY. `timeout`
    of one request: seconds, or an httpx.Timeout. `max_retries`: how often a request is sent again while
    nobody answers, or the answer is: not now; POSTs carry an idempotency key, so they are done once. `http_client`:
    your own, for proxies and certificates; it stays open when this client is closed. `retry_policy`: in place of
    `max_retries`, what decides about another attempt.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | httpx.Timeout | None = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: httpx.AsyncClient | None = None,
        retry_policy: Retries | None = None,
    ) -> None:
        """Raises RequestError for what is no http(s) URL."""
        settings = settings_of(base_url, api_key, timeout, max_retries)
        self._use(AsyncTransport(settings, http_client, retries=retry_policy))

    def _use(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self.generations = AsyncGenerations(self)
        self.generate = self.generations.create
        self.masks = AsyncMasks(self)
        self.mask_sets = AsyncMaskSets(self)
        self.datasets = AsyncDatasets(self)
        self.training_sets = AsyncTrainingSets(self)
        self.trainings = AsyncTrainings(self)
        self.models = AsyncModels(self)
        self.jobs = AsyncJobs(self)
        self.webhooks = AsyncWebhooks(self)
        self.files = AsyncFiles(self)

    @property
    def base_url(self) -> str:
        """Where the service is, without a slash at the end."""
        return self._transport.settings.base_url

    def with_options(
        self, *, timeout: float | httpx.Timeout | None = None, max_retries: int | None = None
    ) -> Self:
        """The same client, over the same connections, with other patience."""
        now = self._transport.settings
        changed = settings_of(
            now.base_url,
            now.api_key or "",
            now.timeout if timeout is None else timeout,
            now.max_retries if max_retries is None else max_retries,
        )
        other = object.__new__(type(self))
        other._use(self._transport.changed(changed))
        return other

    async def capabilities(self) -> Capabilities:
        """Limits, formats, rules, samplers and feature flags of the service."""
        return parse(Capabilities, await self._transport.send(get("/v1/capabilities")))

    async def usage(self, first: date | None = None, last: date | None = None) -> Usage:
        """Jobs, pictures and workers' time by day (UTC), by default the last 30; `last` is included."""
        query = {"from": first, "to": last}
        return parse(Usage, await self._transport.send(get("/v1/usage", **query)))

    async def workers(self) -> list[Worker]:
        """The worker processes that have shown a sign of life lately."""
        return items(Worker, await self._transport.send(get("/v1/workers")))

    async def categories(self) -> list[Category]:
        """EarthSynth's categories, by id: what masks may hold."""
        return items(Category, await self._transport.send(get("/v1/categories")))

    async def ontologies(self) -> list[Ontology]:
        """The label sets that masks may be written in."""
        return items(Ontology, await self._transport.send(get("/v1/ontologies")))

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """The JSON answer of any operation, also one that this version of the client does not know.

        Sent again as everything else is; an empty answer is {}.
        """
        request = _any_request(method.upper(), path, body, dict(query or {}), idempotency_key)
        answer = await self._transport.send(request)
        return json_of(answer) if answer.content else {}

    async def _json(self, request: Request, *, patient: bool = False) -> dict[str, Any]:
        return json_of(await self._transport.send(request, patient=patient))

    async def aclose(self) -> None:
        """Closes the connections; a handle cannot be asked anything more."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"


def _any_request(
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    query: dict[str, object],
    idempotency_key: str | None,
) -> Request:
    """Raises RequestError for a method that the API does not use, and for a path that is none."""
    if not path.startswith("/"):
        raise RequestError(f"the path {path!r} must begin with a slash")
    if method == "GET":
        return get(path, **query)
    if method == "DELETE":
        return delete(path)
    if method == "POST":
        return post(path, None if body is None else {**body, "idempotency_key": idempotency_key})
    raise RequestError(f"{method} is no method of this API")
