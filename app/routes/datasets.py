"""/v1/datasets: many masks in; filtered, labelled, exported samples out."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from app.accepting import CheckedView, Waits, answer_job, checked
from app.auth import Reads, Writes
from app.bodies import parse_json
from app.dataset_views import DatasetView, ExportPage, ExportView, dataset_view, export_view
from app.dependencies import AppResources, DatasetId, Resources, id_in_path
from app.idempotency import Repeats
from app.openapi import json_body, refusals, success
from app.pages import Cursor, Limit, cursor_after, place_of, sample_page
from app.schemas import JobView, SamplePage
from models.errors import Gone, NotFound
from models.masks import SizePolicy
from models.model_card import ModelCard
from worker.dataset_specs import DatasetRequest, DatasetSpec, ExportRequest, ExportSpec, resolve_dataset
from worker.exporting import exports_of, resolve_export, submit_export
from worker.jobs import Job, JobKind, model_ref
from worker.layout import JOB_ID
from worker.mask_sets import MaskSetRecord, find_mask_set, from_mask_ids, sizes_of
from worker.rendering import FilterSpec
from worker.selection import current_selection, filter_anew
from worker.window import shard_images

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

ExportId = Annotated[str, id_in_path("the export job's id", JOB_ID)]


@router.post(
    "",
    status_code=202,
    response_model=JobView | CheckedView,
    responses=success(200, "the job, which ended in time; or what was checked", model=JobView | CheckedView)
    | refusals(400, 404, 409, 410, 413, 415, 422, 429, 503),
    openapi_extra=json_body(DatasetRequest),
)
async def create_dataset(
    request: Request, response: Response, found: Resources, tenant: Writes, once: Repeats, wanted: Waits
) -> JobView | CheckedView:
    """Makes a data set: condition sampling, synthesis, R-Filter and labels for every mask, in shards."""
    asked = await parse_json(request, DatasetRequest)
    if asked.validate_only:
        return await run_in_threadpool(_check, found, response, tenant, asked)
    job = await once.job(asked, lambda job_id: _accept(found, tenant, asked, job_id))
    return await answer_job(found, response, job, wanted)


@router.get("/{dataset_id}", response_model=DatasetView, responses=refusals(404, 410, 422, 503))
def get_dataset(dataset_id: DatasetId, found: Resources, tenant: Reads) -> DatasetView:
    """The job, what the filter did to each category, and what the data set delivers now."""
    job = _dataset(found, tenant, dataset_id)
    return dataset_view(job, current_selection(found.intake.storage, job), found.intake.store.redis)


@router.get("/{dataset_id}/samples", response_model=SamplePage, responses=refusals(404, 410, 422, 503))
def get_dataset_samples(
    dataset_id: DatasetId, found: Resources, tenant: Reads, limit: Limit = 50, cursor: Cursor = None
) -> SamplePage:
    """The samples of the current selection, exhausted ones too, by index; empty until the job has ended."""
    job = _dataset(found, tenant, dataset_id)
    selection = current_selection(found.intake.storage, job)
    return sample_page(found.intake.storage, job, selection.pages if selection else (), limit, cursor)


@router.post(
    "/{dataset_id}/refilter",
    response_model=DatasetView,
    responses=refusals(400, 404, 409, 410, 413, 415, 422, 503),
    openapi_extra=json_body(FilterSpec),
)
async def refilter_dataset(
    request: Request, dataset_id: DatasetId, found: Resources, tenant: Writes, once: Repeats
) -> DatasetView | Response:
    """Chooses the samples again by another policy or other thresholds, from stored scores: no GPU, no new picture."""
    asked = await parse_json(request, FilterSpec)
    return await once.answer(asked, lambda: _refilter(found, tenant, dataset_id, asked))


@router.post(
    "/{dataset_id}/exports",
    status_code=202,
    response_model=JobView | CheckedView,
    responses=success(200, "the job, which ended in time; or what was checked", model=JobView | CheckedView)
    | refusals(400, 404, 409, 410, 413, 415, 422, 429, 503),
    openapi_extra=json_body(ExportRequest),
)
async def create_export(
    request: Request,
    response: Response,
    dataset_id: DatasetId,
    found: Resources,
    tenant: Writes,
    once: Repeats,
    wanted: Waits,
) -> JobView | CheckedView:
    """Writes the current selection in one format: an archive, read back by public readers before it is ready."""
    asked = await parse_json(request, ExportRequest)
    if asked.validate_only:
        return await run_in_threadpool(_check_export, found, response, tenant, dataset_id, asked)
    job = await once.job(asked, lambda job_id: _export(found, tenant, dataset_id, asked, job_id))
    return await answer_job(found, response, job, wanted)


@router.get("/{dataset_id}/exports", response_model=ExportPage, responses=refusals(404, 410, 422, 503))
def list_exports(
    dataset_id: DatasetId, found: Resources, tenant: Reads, limit: Limit = 50, cursor: Cursor = None
) -> ExportPage:
    """The data set's exports, newest first."""
    job = _dataset(found, tenant, dataset_id)
    scope = (tenant, job.id, "exports")
    before = place_of(cursor, *scope)
    ids = sorted(exports_of(found.intake.storage, job), reverse=True)
    views: list[ExportView] = []
    for export_id in ids if before is None else (one for one in ids if one < before):
        if len(views) == limit:
            return ExportPage(items=views, next_cursor=cursor_after(views[-1].id, *scope))
        with contextlib.suppress(NotFound, Gone):  # announced, then refused: the queue was full; or expired
            views.append(_export_view(found, tenant, job, export_id))
    return ExportPage(items=views)


@router.get(
    "/{dataset_id}/exports/{export_id}", response_model=ExportView, responses=refusals(404, 410, 422, 503)
)
def get_export(dataset_id: DatasetId, export_id: ExportId, found: Resources, tenant: Reads) -> ExportView:
    """One export, with a fresh presigned URL of its archive when it is ready."""
    return _export_view(found, tenant, _dataset(found, tenant, dataset_id), export_id)


def _accept(found: AppResources, tenant: str, asked: DatasetRequest, job_id: str) -> Job:
    card, spec, warnings, _ = _resolve(found, tenant, asked, keep=True)
    return found.intake.submit(tenant, spec, model_ref(card), warnings, job_id=job_id, own=asked.own)


def _check(found: AppResources, response: Response, tenant: str, asked: DatasetRequest) -> CheckedView:
    card, spec, warnings, work = _resolve(found, tenant, asked, keep=False)
    return checked(
        found,
        response,
        spec,
        model_ref(card),
        warnings,
        images=spec.samples,
        work=work * spec.samples,
        measured_as=spec.model,
    )


def _resolve(
    found: AppResources, tenant: str, asked: DatasetRequest, *, keep: bool
) -> tuple[ModelCard, DatasetSpec, tuple[str, ...], float]:
    """What is asked, checked, and the work of one sample on average."""
    intake = found.intake
    intake.check_webhook(tenant, asked.webhook)
    card = found.registry.find(tenant, asked.model)
    masks = _masks(found, tenant, asked, keep=keep)
    size = shard_images(intake.settings, intake.store, card)
    sizes = _sizes(found, tenant, asked, card, masks)
    spec, warnings = resolve_dataset(
        asked, masks, card, shard_images=size, sizes=sizes, max_tiles=intake.settings.max_tiles
    )
    work = sum(spec.work_of(card, *of) * count for of, count in sizes.items()) / sizes.total()
    return card, spec, (*masks.warnings, *warnings), work


def _sizes(
    found: AppResources, tenant: str, asked: DatasetRequest, card: ModelCard, masks: MaskSetRecord
) -> Counter[tuple[int, int]]:
    """How many masks have pictures of each (width, height)."""
    if asked.size_policy is SizePolicy.TILE:
        return sizes_of(found.intake.storage, tenant, masks)
    size = asked.width or card.native_width, asked.height or card.native_height
    return Counter({size: masks.masks})


def _masks(found: AppResources, tenant: str, asked: DatasetRequest, *, keep: bool) -> MaskSetRecord:
    if asked.masks.mask_set_id is not None:
        return find_mask_set(found.intake.storage, tenant, asked.masks.mask_set_id)
    return from_mask_ids(found.intake, tenant, asked.masks.mask_ids or (), keep=keep)


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


def _export(found: AppResources, tenant: str, dataset_id: str, asked: ExportRequest, job_id: str) -> Job:
    dataset = _dataset(found, tenant, dataset_id)
    spec = _resolve_export(found, dataset, asked)
    return submit_export(found.intake, dataset, spec, job_id, asked.own)


def _check_export(
    found: AppResources, response: Response, tenant: str, dataset_id: str, asked: ExportRequest
) -> CheckedView:
    dataset = _dataset(found, tenant, dataset_id)
    spec = _resolve_export(found, dataset, asked)
    return checked(
        found,
        response,
        spec,
        dataset.model,
        (),
        images=spec.samples,
        work=spec.samples,
        measured_as=f"export {spec.options.format}",
    )


def _resolve_export(found: AppResources, dataset: Job, asked: ExportRequest) -> ExportSpec:
    found.intake.check_webhook(dataset.tenant, asked.webhook)
    return resolve_export(found.intake.storage, dataset, asked.options, asked.splits, asked.webhook)


def _export_view(found: AppResources, tenant: str, dataset: Job, export_id: str) -> ExportView:
    absent = NotFound("There is no such export.", code="export_not_found")
    try:
        job = found.intake.find(tenant, export_id)
    except NotFound:
        raise absent from None
    if job.kind is not JobKind.EXPORT or job.request["dataset_id"] != dataset.id:
        raise absent
    return export_view(job, found.intake.storage)
