"""Finding an export of a data set, ready or about to be, and its archive."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from deploy.dataset_client import Service
from deploy.dataset_watch import follow
from deploy.exit_codes import ExitCode, Unsuccessful
from earthsynth.downloads import RemoteFile
from models.export.options import ExportFormat

_APPEARS_SECONDS = 30.0  # exports that a data set was asked with are submitted just after its end
_POLL_SECONDS = 0.5


def export_of(service: Service, console: Console, dataset_id: str, export_id: str) -> dict[str, Any]:
    """The export, once it is ready. Raises Unsuccessful, also when it did not succeed."""
    path = f"/v1/datasets/{dataset_id}/exports/{export_id}"
    export = service.get(path)
    if export["status"] == "succeeded":
        return export
    follow(service, console, export_id)
    return service.get(path)


def newest_of(service: Service, dataset_id: str, wanted: ExportFormat) -> str:
    """The id of the newest export in that format that has not failed. Raises Unsuccessful (REFUSED): there is none.

    The export that the data set itself was asked with is waited for until it is listed.
    """
    dataset = service.get(f"/v1/datasets/{dataset_id}")["job"]
    coming = dataset["status"] == "succeeded" and wanted in dataset["request"]["formats"]
    until = time.monotonic() + _APPEARS_SECONDS
    while True:
        exports = service.get(f"/v1/datasets/{dataset_id}/exports")["items"]
        ours = [found for found in exports if found["format"] == wanted]
        good = [found for found in ours if found["status"] not in {"failed", "canceled"}]
        if good:
            return str(max(good, key=lambda found: str(found["created_at"]))["id"])
        if ours or not coming or time.monotonic() > until:
            raise Unsuccessful(
                ExitCode.REFUSED,
                f"error: {dataset_id} has no usable export in the format {wanted}; "
                f"make one: earthsynth dataset export {dataset_id} --format {wanted}",
            )
        time.sleep(_POLL_SECONDS)


def archive_of(service: Service, dataset_id: str, export_id: str) -> RemoteFile:
    """The ready export's archive, under a fresh URL."""
    archive = service.get(f"/v1/datasets/{dataset_id}/exports/{export_id}")["archive"]
    return RemoteFile(url=archive["url"], bytes=archive["bytes"], sha256=archive["sha256"])
