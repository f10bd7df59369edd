"""Trainings: a ControlNet trained with counterfactual compositions, kept as a version of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from earthsynth._answers import record
from earthsynth._async.downloads import read
from earthsynth._async.jobs import AsyncJob
from earthsynth._async.pages import AsyncPager
from earthsynth._requests import get, post, segment
from earthsynth.types.jobs import DryRun
from earthsynth.types.records import FileRef
from earthsynth.types.requests import PreviewOptions, Recipe
from earthsynth.types.trainings import (
    HistoryRow,
    TrainingOutcome,
    TrainingPreview,
    TrainingSet,
    Validation,
)

if TYPE_CHECKING:
    from earthsynth._async.client import AsyncEarthSynth

_PATH = "/v1/trainings"


class AsyncTraining(AsyncJob):
    """A training: its losses up to the last checkpoint, its validations, and what it made.

    These are there after `wait`, `reload` or `client.trainings.get`; the losses of each step come as events.
    """

    history: list[HistoryRow] = []
    validations: list[Validation] = []
    tensorboard: list[FileRef] = []
    result: TrainingOutcome | None = None

    @property
    def _view_path(self) -> str:
        return f"{_PATH}/{segment(self.id, 'the training id')}"

    @property
    def model_name(self) -> str:
        """`name@version`, usable as `model` once the training has succeeded."""
        return f"{self.model.name}@{self.model.version}" if self.model else ""

    async def sheet(self, step: int) -> bytes:
        """The PNG of the validation after that step: masks above, pictures below."""
        answer = await self._client._transport.send(
            get(f"{self._view_path}/validations/{step}").redirecting()
        )
        return await read(self._client._transport, answer.headers["location"], None)


class AsyncTrainings:
    """`client.trainings`"""

    def __init__(self, client: AsyncEarthSynth) -> None:
        self._client = client

    async def create(
        self,
        training_set: TrainingSet | str,
        name: str,
        *,
        base_model: str | None = None,
        **recipe: Unpack[Recipe],
    ) -> AsyncTraining:
        """Trains on a kept set; what the recipe does not say is what suits the base. Returns when it is accepted.

        `name`: of the model, lower-case letters, digits and hyphens; `new_version=True` for a name that has some.
        """
        set_id = training_set.id if isinstance(training_set, TrainingSet) else training_set
        body = {**recipe, "training_set_id": set_id, "name": name, "base_model": base_model}
        return AsyncTraining.of(self._client, await self._client._json(post(_PATH, body)))

    async def validate(self, body: Mapping[str, Any]) -> DryRun:
        """What a body of POST /v1/trainings would become and take; nothing is created."""
        return record(DryRun, await self._client._json(post(_PATH, {**body, "validate_only": True})))

    async def preview(
        self, training_set: TrainingSet | str, **options: Unpack[PreviewOptions]
    ) -> TrainingPreview:
        """Draws what a training composes in its first steps; `client.files.read(preview.sheet)` is the PNG."""
        set_id = training_set.id if isinstance(training_set, TrainingSet) else training_set
        request = post(f"{_PATH}/preview", {**options, "training_set_id": set_id}, read_seconds=300.0)
        return record(TrainingPreview, await self._client._json(request))

    async def get(self, training_id: str) -> AsyncTraining:
        """The training as it is now; may be asked while it runs."""
        path = f"{_PATH}/{segment(training_id, 'the training id')}"
        return AsyncTraining.of(self._client, await self._client._json(get(path)))

    def list(self, *, page_size: int = 50) -> AsyncPager[AsyncTraining]:
        """Your trainings, newest first; `reload` one for its history."""
        client = self._client
        return AsyncPager(
            client._transport,
            "/v1/jobs",
            lambda item: AsyncTraining.of(client, item),
            kind="training",
            limit=page_size,
        )
