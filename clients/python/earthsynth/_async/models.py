"""Models: what pictures can be made with, what a name means now, and which one is the default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earthsynth._answers import parse
from earthsynth._async.pages import AsyncPager
from earthsynth._requests import get, post, segment
from earthsynth.types.trainings import Model

if TYPE_CHECKING:
    from earthsynth._async.client import AsyncEarthSynth

_PATH = "/v1/models"


class AsyncModels:
    """`client.models`"""

    def __init__(self, client: AsyncEarthSynth) -> None:
        self._client = client

    def list(self) -> AsyncPager[Model]:
        """The models of the service's release, then every trained version by name, the newest first."""
        return AsyncPager(self._client._transport, _PATH, Model.model_validate)

    async def get(self, name: str) -> Model:
        """One model, by `name` or `name@version`: a trained one with its recipe, its data and its files."""
        return parse(Model, await self._client._transport.send(get(f"{_PATH}/{_part(name)}")))

    async def promote(self, name: str, version: str) -> Model:
        """Makes the name alone mean that version from now on."""
        return await self._set(f"{_part(name)}/promote", {"version": version})

    async def rollback(self, name: str) -> Model:
        """Makes the name mean what it meant before the last promotion. Called again, it goes back further."""
        return await self._set(f"{_part(name)}/rollback")

    async def set_default(self, name: str) -> Model:
        """Makes it the model of requests that name none: `name`, whatever it will mean, or `name@version`."""
        return await self._set(f"{_part(name)}/default")

    async def rollback_default(self) -> Model:
        """Makes the model of requests that name none the one it was before."""
        return await self._set("default/rollback")

    async def _set(self, path: str, body: dict[str, str] | None = None) -> Model:
        return parse(Model, await self._client._transport.send(post(f"{_PATH}/{path}", body)))


def _part(name: str) -> str:
    return segment(name, "the model's name")
