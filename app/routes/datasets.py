"""/v1/datasets: many masks in; filtered, labelled, exported samples out."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.auth import Reads, Writes
from app.bodies import parse_json
from app.dataset_views import DatasetView, ExportPage, ExportView, dataset_view, export_view
from app.dependencies import AppResources, DatasetId, Resources
from app.openapi import json_body, refusals, success
from app.pages import Cursor, Limit, sample_page
from app.schemas import JobView, SamplePage, job_view
from app.waiting import MAX_WAIT_SECONDS, preference, wait_for_end
from models.errors import NotFound
from worker.dataset_specs import DatasetRequest, ExportRequest, resolve_dataset
from worker.exporting import exports_of, submit_export
from worker.jobs import Job, JobKind, model_ref
from worker.mask_sets import MaskSetRecord, find_mask_set, from_mask_ids
from worker.selection import current_selection, filter_anew
from worker.specs import FilterSpec
from worker.window import shard_images

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

Wait = Annotated[float | None, Query(ge=0, le=MAX_WAIT_SECONDS)]
Prefer = Annotated[str | None, Header()]
ExportId = Annotated[str, Path(description="the export job's id", max_length=200)]


@router.post(
    "",
    status_code=202,
    response_model=JobView,
    responses=success(200, "the job, which ended in time", model=JobView)
    | refusals(400, 404, 413, 415, 422, 429, 503),
    openapi_extra=json_body(DatasetRequest),
)
async def create_dataset(
    request: Request,
    response: Response,
    found: Resources,
    tenant: Writes,
    prefer: Prefer = None,
    wait: Wait = None,
) -> JobView:
    """Makes a data set: condition sampling, synthesis, R-Filter and labels for every mask, in shards."""
    asked = await parse_json(request, DatasetRequest)
    job = await run_in_threadpool(_accept, found, tenant, asked)
    return await _answer(found, response, job, preference(prefer, wait))


@router.get("/{dataset_id}", response_model=DatasetView, responses=refusals(404, 422, 503))
def get_dataset(dataset_id: DatasetId, found: Resources, tenant: Reads) -> DatasetView:
    """The job, what the filter did to each category, and what the data set delivers now."""
    job = _dataset(found, tenant, dataset_id)
    return dataset_view(job, current_selection(found.intake.storage, job), found.intake.store.redis)


@router.get("/{dataset_id}/samples", response_model=SamplePage, responses=refusals(404, 422, 503))
def get_samples(
    dataset_id: DatasetId, found: Resources, tenant: Reads, limit: Limit = 50, cursor: Cursor = None
) -> SamplePage:
    """The samples of the current selection, exhausted ones too, by index; empty until the job has ended."""
    job = _dataset(found, tenant, dataset_id)
    selection = current_selection(found.intake.storage, job)
    return sample_page(found.intake.storage, job, selection.pages if selection else (), limit, cursor)


@router.post(
    "/{dataset_id}/refilter",
    response_model=DatasetView,
    responses=refusals(400, 404, 409, 413, 415, 422, 503),
    openapi_extra=json_body(FilterSpec),
)
async def refilter(request: Request, dataset_id: DatasetId, found: Resources, tenant: Writes) -> DatasetView:
    """Chooses the samples again by another policy or other thresholds, from stored scores: no GPU, no new picture."""
    asked = await parse_json(request, FilterSpec)
    return await run_in_threadpool(_refilter, found, tenant, dataset_id, asked)


@router.post(
    "/{dataset_id}/exports",
    status_code=202,
    response_model=JobView,
    responses=success(200, "the job, which ended in time", model=JobView)
    | refusals(400, 404, 409, 413, 415, 422, 429, 503),
    openapi_extra=json_body(ExportRequest),
)
async def create_export(
    request: Request,
    response: Response,
    dataset_id: DatasetId,
    found: Resources,
    tenant: Writes,
    prefer: Prefer = None,
    wait: Wait = None,
) -> JobView:
    """Writes the current selection in one format: an archive, read back by public readers before it is ready."""
    asked = await parse_json(request, ExportRequest)
    job = await run_in_threadpool(_export, found, tenant, dataset_id, asked)
    return await _answer(found, response, job, preference(prefer, wait))


@router.get("/{dataset_id}/exports", response_model=ExportPage, responses=refusals(404, 422, 503))
def list_exports(dataset_id: DatasetId, found: Resources, tenant: Reads) -> ExportPage:
    """The data set's exports, oldest first."""
    job = _dataset(found, tenant, dataset_id)
    views = []
    for export_id in exports_of(found.intake.storage, job):
        with contextlib.suppress(NotFound):  # announced, then refused: the queue was full
            views.append(_export_view(found, tenant, job, export_id))
    return ExportPage(items=views)


@router.get("/{dataset_id}/exports/{export_id}", response_model=ExportView, responses=refusals(404, 422, 503))
def get_export(dataset_id: DatasetId, export_id: ExportId, found: Resources, tenant: Reads) -> ExportView:
    """One export, with a fresh presigned URL of its archive when it is ready."""
    return _export_view(found, tenant, _dataset(found, tenant, dataset_id), export_id)


def _accept(found: AppResources, tenant: str, asked: DatasetRequest) -> Job:
    intake = found.intake
    card = found.registry.find(tenant, asked.model)
    masks = _masks(found, tenant, asked)
    size = shard_images(intake.settings, intake.store, card)
    spec, warnings = resolve_dataset(asked, masks, card, shard_images=size)
    return intake.submit(tenant, spec, model_ref(card), (*masks.warnings, *warnings))


def _masks(found: AppResources, tenant: str, asked: DatasetRequest) -> MaskSetRecord:
    if asked.masks.mask_set_id is not None:
        return find_mask_set(found.intake.storage, tenant, asked.masks.mask_set_id)
    return from_mask_ids(found.intake, tenant, asked.masks.mask_ids or ())


def _dataset(found: AppResources, tenant: str, dataset_id: str) -> Job:
    absent = NotFound("There is no such data set.", code="dataset_not_found")
    try:
        job = found.intake.find(tenant, dataset_id)
    except NotFound:
        raise absent from None
    if job.kind is not JobKind.DATASET:
        raise absent
    return job


def _refilter(found: AppResources, tenant: str, dataset_id: str, asked: FilterSpec) -> DatasetView:
    job = _dataset(found, tenant, dataset_id)
    selection = filter_anew(found.intake.storage, job, asked)
    return dataset_view(job, selection, found.intake.store.redis)


def _export(found: AppResources, tenant: str, dataset_id: str, asked: ExportRequest) -> Job:
    return submit_export(found.intake, _dataset(found, tenant, dataset_id), asked.options, asked.splits)


def _export_view(found: AppResources, tenant: str, dataset: Job, export_id: str) -> ExportView:
    absent = NotFound("There is no such export.", code="export_not_found")
    try:
        job = found.intake.find(tenant, export_id)
    except NotFound:
        raise absent from None
    if job.kind is not JobKind.EXPORT or job.request["dataset_id"] != dataset.id:
        raise absent
    return export_view(job, found.intake.storage)


async def _answer(
    found: AppResources, response: Response, job: Job, wanted: tuple[float, str | None]
) -> JobView:
    """The accepted job; or the ended one, where the client waits and it ends in time."""
    seconds, applied = wanted
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if applied:
        response.headers["Preference-Applied"] = applied
    if seconds and await wait_for_end(found.async_redis, job.id, seconds):
        response.status_code = 200
    else:
        response.headers["Retry-After"] = "1"
    current = await run_in_threadpool(found.intake.find, job.tenant, job.id)
    return await run_in_threadpool(job_view, current, found.intake.store.redis)
