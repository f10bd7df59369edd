"""Exports of a data set: jobs of their own, repeatable, each of one selection in one format."""

from __future__ import annotations

from collections.abc import Iterator

from models.errors import Conflict
from models.export.options import ExportOptions
from worker.dataset_specs import DatasetSpec, ExportSpec
from worker.intake import Intake
from worker.jobs import Job, OwnData
from worker.layout import export_marker_key, exports_prefix
from worker.results import store_request
from worker.selection import Selection, current_selection, read_selection
from worker.storage import Storage
from worker.webhook_specs import WebhookRequest, for_exports


def submit_export(
    intake: Intake,
    dataset: Job,
    spec: ExportSpec,
    job_id: str,
    own: OwnData,
    *,
    retried_from: str | None = None,
) -> Job:
    """Accepts the export."""
    _mark(intake, dataset, job_id)
    return intake.submit(
        dataset.tenant, spec, dataset.model, (), job_id=job_id, own=own, retried_from=retried_from
    )


def resolve_export(
    storage: Storage,
    dataset: Job,
    options: ExportOptions,
    splits: dict[str, float] | None = None,
    webhook: WebhookRequest | None = None,
) -> ExportSpec:
    """An export of what the data set delivers now. Raises Conflict while there is nothing to export."""
    selection = current_selection(storage, dataset) if dataset.ended else None
    if selection is None:
        raise Conflict(
            f"The data set is {dataset.status}; it can be exported when it has ended with samples.",
            code="dataset_not_ready",
        )
    if not selection.counts.accepted:
        raise Conflict("No sample was accepted, so there is nothing to export.", code="dataset_empty")
    return _spec(dataset, selection, options, splits).model_copy(update={"webhook": webhook})


def promise_exports(intake: Intake, dataset: Job, selection: Selection, asked: DatasetSpec) -> None:
    """Makes the exports that the data set was asked with durable, before it ends; repeated, they are the same jobs.

    From here on they will be made, whatever dies: `start_exports` queues them, or else the reconciler finds them.
    """
    webhooks = for_exports(dataset.webhooks)
    for export_id, options in zip(selection.exports, asked.formats, strict=True):
        _mark(intake, dataset, export_id)
        spec = _spec(dataset, selection, options, None)
        own = OwnData(custom_id=dataset.custom_id, metadata=dataset.metadata)
        promised = intake.draft(
            dataset.tenant, spec, dataset.model, (), job_id=export_id, own=own, webhooks=webhooks
        )
        store_request(intake.storage, promised)


def start_exports(intake: Intake, dataset: Job) -> None:
    """Queues what was promised, once the data set has ended. May be repeated."""
    selection = read_selection(intake.storage, dataset, 0)
    for export_id in selection.exports if selection else ():
        intake.find(dataset.tenant, export_id)


def _spec(
    dataset: Job, selection: Selection, options: ExportOptions, splits: dict[str, float] | None
) -> ExportSpec:
    return ExportSpec(
        dataset_id=dataset.id,
        selection=selection.number,
        options=options,
        splits=splits or DatasetSpec.model_validate(dataset.request).splits,
        samples=selection.counts.accepted,
    )


def _mark(intake: Intake, dataset: Job, export_id: str) -> None:
    """Lists the export with the data set."""
    marker = export_marker_key(dataset.tenant, dataset.id, export_id)
    intake.storage.create(marker, b"{}", "application/json")


def exports_of(storage: Storage, dataset: Job) -> Iterator[str]:
    """The ids of the data set's export jobs, oldest first."""
    prefix = exports_prefix(dataset.tenant, dataset.id)
    for key in storage.keys(prefix):
        yield key.removeprefix(prefix).removesuffix(".json")
