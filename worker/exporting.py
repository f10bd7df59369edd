"""Exports of a data set: jobs of their own, repeatable, each of one selection in one format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ulid import ULID

from models.errors import Conflict
from models.export.options import ExportOptions
from worker.dataset_specs import DatasetSpec, ExportSpec
from worker.intake import Intake
from worker.jobs import Job, new_job_id
from worker.layout import export_marker_key, exports_prefix
from worker.selection import current_selection
from worker.storage import Storage


def submit_export(
    intake: Intake,
    dataset: Job,
    options: ExportOptions,
    splits: dict[str, float] | None = None,
    *,
    job_id: str | None = None,
) -> Job:
    """Accepts an export of what the data set delivers now. Raises Conflict while there is nothing to export."""
    selection = current_selection(intake.storage, dataset) if dataset.ended else None
    if selection is None:
        raise Conflict(
            f"The data set is {dataset.status}; it can be exported when it has ended with samples.",
            code="dataset_not_ready",
        )
    if not selection.counts.accepted:
        raise Conflict("No sample was accepted, so there is nothing to export.", code="dataset_empty")
    spec = ExportSpec(
        dataset_id=dataset.id,
        selection=selection.number,
        options=options,
        splits=splits or DatasetSpec.model_validate(dataset.request).splits,
        samples=selection.counts.accepted,
    )
    export_id = job_id or new_job_id()
    marker = export_marker_key(dataset.tenant, dataset.id, export_id)
    intake.storage.create(marker, b"{}", "application/json")
    return intake.submit(dataset.tenant, spec, dataset.model, (), job_id=export_id)


def export_formats(intake: Intake, dataset: Job, spec: DatasetSpec) -> None:
    """Submits the exports that the data set was asked with; repeated, they are the same jobs."""
    selection = current_selection(intake.storage, dataset)
    if selection is None or not selection.counts.accepted:
        return
    for options in spec.formats:
        submit_export(intake, dataset, options, job_id=_own_id(dataset, options))


def exports_of(storage: Storage, dataset: Job) -> Iterator[str]:
    """The ids of the data set's export jobs, oldest first."""
    prefix = exports_prefix(dataset.tenant, dataset.id)
    for key in storage.keys(prefix):
        yield key.removeprefix(prefix).removesuffix(".json")


def _own_id(dataset: Job, options: ExportOptions) -> str:
    """The id of the data set's own export with these options: its time is the data set's, the rest a hash of both."""
    digest = hashlib.sha256(f"{dataset.id} {options.model_dump_json()}".encode()).digest()
    stamp = ULID.from_str(dataset.id.removeprefix("job_").upper()).bytes[:6]
    return f"job_{str(ULID(stamp + digest[:10])).lower()}"
