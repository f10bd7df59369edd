"""Models: what pictures can be made with, what a name means now, and which one is the default."""

# Made by make_sync.py from _async/models.py; change it there.

from __future__ import annotations

from typing import TYPE_CHECKING

from earthsynth._answers import parse
from earthsynth._requests import get, post, segment
from earthsynth._sync.pages import Pager
from earthsynth.types.trainings import Model

if TYPE_CHECKING:
    from earthsynth._sync.client import EarthSynth

_PATH = "/v1/models"


class Models:
    """`client.models`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def list(self) -> Pager[Model]:
        """The models of the service's release, then every trained version by name, the newest first."""
        return Pager(self._client._transport, _PATH, Model.model_validate)

    def get(self, name: str) -> Model:
        """One model, by `name` or `name@version`: a trained one with its recipe, its data and its files."""
        return parse(Model, self._client._transport.send(get(f"{_PATH}/{_part(name)}")))

    def promote(self, name: str, version: str) -> Model:
        """Makes the name alone mean that version from now on."""
        return self._set(f"{_part(name)}/promote", {"version": version})

    def rollback(self, name: str) -> Model:
        """Makes the name mean what it meant before the last promotion. Called again, it goes back further."""
        return self._set(f"{_part(name)}/rollback")

    def set_default(self, name: str) -> Model:
        """Makes it the model of requests that name none: `name`, whatever it will mean, or `name@version`."""
        return self._set(f"{_part(name)}/default")

    def rollback_default(self) -> Model:
        """Makes the model of requests that name none the one it was before."""
        return self._set("default/rollback")

    def _set(self, path: str, body: dict[str, str] | None = None) -> Model:
        return parse(Model, self._client._transport.send(post(f"{_PATH}/{path}", body)))


def _part(name: str) -> str:
    return segment(name, "the model's name")
