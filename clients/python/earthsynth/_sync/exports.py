"""Exports: a data set written in one format, as a zip that public readers have opened."""

# Made by make_sync.py from _async/exports.py; change it there.

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import PrivateAttr

from earthsynth._bodies import formats_of
from earthsynth._parts import Progress, RemoteFile
from earthsynth._requests import get, segment
from earthsynth._sync.downloads import download
from earthsynth._sync.handles import Handle
from earthsynth._sync.pauses import in_thread, sleep
from earthsynth.errors import DownloadError
from earthsynth.types.datasets import ExportData
from earthsynth.unpacking import unpack

if TYPE_CHECKING:
    from earthsynth._sync.client import EarthSynth
    from earthsynth._sync.datasets import Dataset
    from earthsynth._sync.jobs import Job

_APPEARS_SECONDS = 30.0  # exports that a data set was asked with are submitted just after its end
_POLL_SECONDS = 0.5


class Export(ExportData, Handle):
    """An export; its id is also that of its job."""

    _dataset_id: str = PrivateAttr()

    @classmethod
    def in_dataset(cls, client: EarthSynth, dataset_id: str, data: object) -> Self:
        found = cls.of(client, data)
        found._dataset_id = dataset_id
        return found

    @classmethod
    def begun(cls, dataset_id: str, wanted: str, job: Job) -> Self:
        """The export that this job makes."""
        data = {"id": job.id, "format": wanted, "status": job.status, "created_at": job.created_at}
        return cls.in_dataset(job._client, dataset_id, data)

    @property
    def job(self) -> Job:
        """The job that makes it: `events`, `cancel`, `delete`."""
        return self._client.jobs.ref(self.id)

    def reload(self) -> Self:
        """Asks how the export is now, with a fresh URL of its archive."""
        dataset, export = segment(self._dataset_id, "the data set id"), segment(self.id, "the export id")
        answer = self._client._json(get(f"/v1/datasets/{dataset}/exports/{export}"))
        self._take(self.of(self._client, answer))
        return self

    def wait(self, timeout: float | None = None, *, poll_seconds: float | None = None) -> Self:
        """Returns when it is ready. Raises JobFailed, JobCanceled, WaitTimeout, as a job's `wait`."""
        if self.archive is None:
            self.job.wait(timeout, poll_seconds=poll_seconds)
            self.reload()
        return self

    def download(
        self, folder: str | Path = ".", *, extract: bool = False, progress: Progress | None = None
    ) -> Path:
        """Fetches the archive as `{format}-{id}.zip`; its path, or with `extract` that of the unpacked folder.

        A broken download goes on where it stopped, also in a later call; the sha256 is checked. Raises
        DownloadError, UnsafeArchive.
        """
        path = Path(folder) / f"{self.format}-{self.id}.zip"
        download(self._client._transport, self._archive, path, progress)
        if not extract:
            return path
        in_thread(unpack, path, path.with_suffix(""))
        return path.with_suffix("")

    def _archive(self) -> RemoteFile:
        """The archive under a fresh URL."""
        self.reload()
        if self.archive is None:
            raise DownloadError(f"export {self.id} is {self.status} and has no archive; wait for it")
        return RemoteFile(self.archive.url, self.archive.bytes, self.archive.sha256)


def newest_export(dataset: Dataset, wanted: str) -> Export | None:
    """The newest export in that format that has not failed; None where there is none.

    One that the data set itself was asked with is waited for until it is listed.
    """
    coming = dataset.status == "succeeded" and wanted in formats_of(dataset.job.request)
    until = time.monotonic() + _APPEARS_SECONDS
    while True:
        found: list[Export] = [export for export in dataset.exports().to_list() if export.format == wanted]
        good = [export for export in found if export.status not in {"failed", "canceled"}]
        if good:
            return max(good, key=lambda export: export.id)  # ids sort by time
        if found or not coming or time.monotonic() > until:
            return None
        sleep(_POLL_SECONDS)
