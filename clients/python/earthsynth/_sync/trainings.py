"""Trainings: a ControlNet trained with counterfactual compositions, kept as a version of a model."""

# Made by make_sync.py from _async/trainings.py; change it there.

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from earthsynth._answers import record
from earthsynth._requests import get, post, segment
from earthsynth._sync.downloads import read
from earthsynth._sync.jobs import Job
from earthsynth._sync.pages import Pager
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
    from earthsynth._sync.client import EarthSynth

_PATH = "/v1/trainings"


class Training(Job):
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

    def sheet(self, step: int) -> bytes:
        """The PNG of the validation after that step: masks above, pictures below."""
        answer = self._client._transport.send(get(f"{self._view_path}/validations/{step}").redirecting())
        return read(self._client._transport, answer.headers["location"], None)


class Trainings:
    """`client.trainings`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def create(
        self,
        training_set: TrainingSet | str,
        name: str,
        *,
        base_model: str | None = None,
        **recipe: Unpack[Recipe],
    ) -> Training:
        """Trains on a kept set; what the recipe does not say is what suits the base. Returns when it is accepted.

        `name`: of the model, lower-case letters, digits and hyphens; `new_version=True` for a name that has some.
        """
        set_id = training_set.id if isinstance(training_set, TrainingSet) else training_set
        body = {**recipe, "training_set_id": set_id, "name": name, "base_model": base_model}
        return Training.of(self._client, self._client._json(post(_PATH, body)))

    def validate(self, body: Mapping[str, Any]) -> DryRun:
        """What a body of POST /v1/trainings would become and take; nothing is created."""
        return record(DryRun, self._client._json(post(_PATH, {**body, "validate_only": True})))

    def preview(self, training_set: TrainingSet | str, **options: Unpack[PreviewOptions]) -> TrainingPreview:
        """Draws what a training composes in its first steps; `client.files.read(preview.sheet)` is the PNG."""
        set_id = training_set.id if isinstance(training_set, TrainingSet) else training_set
        request = post(f"{_PATH}/preview", {**options, "training_set_id": set_id}, read_seconds=300.0)
        return record(TrainingPreview, self._client._json(request))

    def get(self, training_id: str) -> Training:
        """The training as it is now; may be asked while it runs."""
        path = f"{_PATH}/{segment(training_id, 'the training id')}"
        return Training.of(self._client, self._client._json(get(path)))

    def list(self, *, page_size: int = 50) -> Pager[Training]:
        """Your trainings, newest first; `reload` one for its history."""
        client = self._client
        return Pager(
            client._transport,
            "/v1/jobs",
            lambda item: Training.of(client, item),
            kind="training",
            limit=page_size,
        )
