"""Data sets: many masks in; filtered, labelled, exported samples out."""

# Made by make_sync.py from _async/datasets.py; change it there.

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from pydantic import SerializeAsAny

from earthsynth._answers import record
from earthsynth._bodies import dataset_masks, formats_of, rendering_fields
from earthsynth._parts import Progress
from earthsynth._requests import get, post, segment
from earthsynth._sync.exports import Export, newest_export
from earthsynth._sync.handles import Handle
from earthsynth._sync.jobs import Job
from earthsynth._sync.pages import Pager
from earthsynth.errors import RequestError
from earthsynth.types.datasets import DatasetData, ExportFormat
from earthsynth.types.events import Event
from earthsynth.types.jobs import DryRun
from earthsynth.types.masks import MaskSet
from earthsynth.types.requests import Conditions, ExportOptions, Filter, Goal, Policy, Rendering
from earthsynth.types.samples import Sample

if TYPE_CHECKING:
    from earthsynth._sync.client import EarthSynth

_PATH = "/v1/datasets"


class Dataset(DatasetData, Handle):
    """A data set: its job, and what it delivers once that has ended."""

    job: SerializeAsAny[Job]

    def _bind(self, client: EarthSynth) -> None:
        super()._bind(client)
        self.job._bind(client)

    @property
    def _path(self) -> str:
        return f"{_PATH}/{segment(self.id, 'the data set id')}"

    @property
    def status(self) -> str:
        """That of the job."""
        return self.job.status

    def reload(self) -> Self:
        """Asks how the data set is now."""
        self._take(self.of(self._client, self._client._json(get(self._path))))
        return self

    def wait(
        self, timeout: float | None = None, *, check: bool = True, poll_seconds: float | None = None
    ) -> Self:
        """Returns when the data set has ended, itself brought up to date. As of a job's `wait`."""
        self.job.wait(timeout, check=check, poll_seconds=poll_seconds)
        return self.reload()

    def events(self, last_event_id: str | None = None) -> Generator[Event, None, None]:
        """What happens until it has ended. As of a job's `events`."""
        return self.job.events(last_event_id)

    def samples(self, *, page_size: int = 200) -> Pager[Sample]:
        """The samples of the current selection, exhausted ones too, by index, with fresh URLs."""
        return Pager(self._client._transport, f"{self._path}/samples", Sample.model_validate, limit=page_size)

    def refilter(self, filter: Filter | Policy) -> Self:  # noqa: A002  (the contract's own name)
        """Chooses the samples again by another policy or thresholds, from stored scores: no GPU, no new picture."""
        body = {"policy": filter} if isinstance(filter, str) else dict(filter)
        answer = self._client._json(post(f"{self._path}/refilter", body, read_seconds=600.0))
        self._take(self.of(self._client, answer))
        return self

    def export(self, format: ExportFormat, **options: Unpack[ExportOptions]) -> Export:  # noqa: A002
        """Writes the current selection in that format; wait for the export, then download it."""
        job = Job.of(
            self._client,
            self._client._json(post(f"{self._path}/exports", {**options, "format": format})),
        )
        return Export.begun(self.id, format, job)

    def exports(self) -> Pager[Export]:
        """The data set's exports, newest first."""
        client, dataset_id = self._client, self.id
        return Pager(
            client._transport,
            f"{self._path}/exports",
            lambda item: Export.in_dataset(client, dataset_id, item),
        )

    def download(
        self,
        format: ExportFormat | None = None,  # noqa: A002
        folder: str | Path = ".",
        *,
        extract: bool = False,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> Path:
        """Fetches the newest export in that format, exporting it where there is none; the archive's path.

        Waits for the data set and the export, at most `timeout` seconds each. Without `format`: that of its own
        `formats`, where it was asked with one. A broken download goes on where it stopped, also in a later call;
        the sha256 is checked. `extract`: also unpack it, and return the folder.
        """
        if not self.job.ended:
            self.wait(timeout)
        wanted = format or self._only_format()
        export = newest_export(self, wanted)
        if export is None:
            export = self.export(wanted)
        export.wait(timeout)
        return export.download(folder, extract=extract, progress=progress)

    def _only_format(self) -> str:
        formats = formats_of(self.job.request)
        if len(formats) != 1:
            known = f"one of {', '.join(formats)}" if formats else "for example coco"
            raise RequestError(f"say in which format to download: {known}")
        return formats[0]

    def cancel(self) -> Self:
        """Cancels the job; what is finished is kept."""
        self.job.cancel()
        return self

    def delete(self) -> None:
        """Deletes the data set, its samples and exports; cancels it first where it has not ended."""
        self.job.delete()


class Datasets:
    """`client.datasets`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def create(
        self,
        *,
        mask_set: MaskSet | str | None = None,
        mask_ids: Sequence[str] | None = None,
        samples_per_mask: int | None = None,
        goal: Goal | None = None,
        name: str | None = None,
        licence: str | None = None,
        prompt: str | None = None,
        conditions: Conditions | None = None,
        splits: Mapping[str, float] | None = None,
        formats: Sequence[ExportFormat | Mapping[str, Any]] | None = None,
        **rendering: Unpack[Rendering],
    ) -> Dataset:
        """Asks for a data set; returns as soon as it is accepted.

        `mask_set` or `mask_ids`; `samples_per_mask` or `goal`. `formats`: exported when done, names or objects with
        options. The same request, seed and model give the same data set.
        """
        set_id = mask_set.id if isinstance(mask_set, MaskSet) else mask_set
        body = rendering_fields(rendering) | {
            "masks": dataset_masks(set_id, mask_ids),
            "samples_per_mask": samples_per_mask,
            "goal": goal,
            "name": name,
            "licence": licence,
            "prompt": prompt,
            "conditions": conditions,
            "splits": splits,
            "formats": None if formats is None else list(formats),
        }
        job = self._client._json(post(_PATH, body))
        return Dataset.of(self._client, _of_job(job))

    def validate(self, body: Mapping[str, Any]) -> DryRun:
        """What a body of POST /v1/datasets would become and take; nothing is created."""
        return record(DryRun, self._client._json(post(_PATH, {**body, "validate_only": True})))

    def get(self, dataset_id: str) -> Dataset:
        """The job, what the filter did to each category, and what the data set delivers now."""
        path = f"{_PATH}/{segment(dataset_id, 'the data set id')}"
        return Dataset.of(self._client, self._client._json(get(path)))

    def list(self, *, page_size: int = 50) -> Pager[Dataset]:
        """Your data sets, newest first; `reload` one to see what it delivers."""
        client = self._client
        return Pager(
            client._transport,
            "/v1/jobs",
            lambda job: Dataset.of(client, _of_job(job)),
            kind="dataset",
            limit=page_size,
        )


def _of_job(job: dict[str, Any]) -> dict[str, Any]:
    return {"id": job.get("id"), "name": job.get("request", {}).get("name", ""), "job": job}
