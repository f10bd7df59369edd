"""What this service takes and makes: every value is read from the setting, the enum or the field that enforces it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from typing import Any, get_args

from annotated_types import Le, MaxLen
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.pages import Limit
from app.rate_limits import RateLimits
from app.waiting import MAX_WAIT_SECONDS
from models.categories import ONTOLOGIES
from models.conditions import MAX_SEED
from models.export.options import ExportFormat
from models.instances import MAX_INSTANCES
from models.mask_files import MaskFormat
from models.masks import Encoding, SizePolicy
from models.model_card import Scheduler
from models.rfilter.rules import Policy, RuleName
from models.shapes import MAX_POINTS, MAX_POLYGONS
from worker.dataset_specs import MAX_SAMPLES, MAX_SAMPLES_PER_MASK, MasksRequest
from worker.mask_set_manifest import MAX_MASKS
from worker.rendering import FilterSpec
from worker.settings import Settings
from worker.specs import MAX_IMAGES, GenerationRequest


class RateView(BaseModel):
    """At most so many requests of a key in any so many seconds. `of`: requests (all), creates (those that answer
    201 or 202).
    """

    of: str
    requests: int
    seconds: int


class LimitsView(BaseModel):
    """Null: no limit. Bytes are those of one request's body; `requests_at_once` is what one API process works on."""

    json_bytes: int
    upload_bytes: int
    archive_bytes: int
    archive_entries: int
    body_seconds: float
    body_bytes_per_second: int
    mask_side_pixels: int
    polygons: int
    polygon_points: int
    instances_per_mask: int
    masks_per_set: int
    mask_ids_per_dataset: int
    images_per_generation: int
    tiles_per_generation: int
    samples_per_mask: int
    samples_per_dataset: int
    tries_per_sample: int
    prompt_characters: int
    num_inference_steps: int
    seed: int
    requests_at_once: int
    queued_jobs: int
    queued_jobs_per_tenant: int
    concurrent_jobs_per_tenant: int | None
    rates: list[RateView]
    wait_seconds: float
    page_items: int
    url_seconds: int
    retention_seconds: int


class MaskCapabilities(BaseModel):
    formats: list[MaskFormat]
    encodings: list[Encoding]
    ontologies: list[str]
    size_policies: list[SizePolicy]


class FilterCapabilities(BaseModel):
    policies: list[Policy]
    rules: list[RuleName]


class ModelCapabilities(BaseModel):
    """Of this release; `GET /v1/models` lists trained ones too."""

    shipped: list[str]
    default: str


class Features(BaseModel):
    """What can be asked for here. `auth_required`: nobody comes in without a key."""

    auth_required: bool
    datasets: bool
    trainings: bool
    inpainting: bool
    events: bool
    webhooks: bool
    usage: bool
    ogc_processes: bool


class CapabilitiesView(BaseModel):
    """`version` is this release's, `api_version` that of the paths."""

    version: str
    api_version: str
    limits: LimitsView
    masks: MaskCapabilities
    exports: list[ExportFormat]
    schedulers: list[Scheduler]
    filter: FilterCapabilities
    models: ModelCapabilities
    features: Features


def capabilities(
    api: FastAPI, settings: Settings, rates: RateLimits, *, auth_required: bool
) -> CapabilitiesView:
    """What holds in this process."""
    return CapabilitiesView(
        version=importlib.metadata.version("earthsynth-service"),
        api_version=api.version,
        limits=_limits(settings, rates),
        masks=MaskCapabilities(
            formats=list(MaskFormat),
            encodings=list(Encoding),
            ontologies=list(ONTOLOGIES),
            size_policies=list(SizePolicy),
        ),
        exports=list(ExportFormat),
        schedulers=list(Scheduler),
        filter=FilterCapabilities(policies=list(Policy), rules=list(RuleName)),
        models=ModelCapabilities(shipped=settings.model_names, default=settings.default_model),
        features=_features(api, auth_required=auth_required),
    )


def _limits(settings: Settings, rates: RateLimits) -> LimitsView:
    return LimitsView(
        json_bytes=settings.max_json_bytes,
        upload_bytes=settings.max_upload_bytes,
        archive_bytes=settings.max_archive_bytes,
        archive_entries=settings.max_archive_entries,
        body_seconds=settings.body_seconds,
        body_bytes_per_second=settings.min_body_bytes_per_second,
        mask_side_pixels=settings.max_mask_side,
        polygons=MAX_POLYGONS,
        polygon_points=MAX_POINTS,
        instances_per_mask=MAX_INSTANCES,
        masks_per_set=MAX_MASKS,
        mask_ids_per_dataset=_largest(MasksRequest.model_fields["mask_ids"]),
        images_per_generation=MAX_IMAGES,
        tiles_per_generation=settings.max_tiles,
        samples_per_mask=MAX_SAMPLES_PER_MASK,
        samples_per_dataset=MAX_SAMPLES,
        tries_per_sample=_largest(FilterSpec.model_fields["max_tries"]),
        prompt_characters=_largest(GenerationRequest.model_fields["prompt"]),
        num_inference_steps=_largest(GenerationRequest.model_fields["num_inference_steps"]),
        seed=MAX_SEED,
        requests_at_once=settings.max_concurrent_requests,
        queued_jobs=settings.max_queue_depth,
        queued_jobs_per_tenant=settings.max_tenant_queue_depth,
        concurrent_jobs_per_tenant=settings.max_concurrent_jobs or None,
        rates=[
            RateView(of=policy.kind, requests=policy.item.amount, seconds=policy.seconds)
            for policy in rates.policies
        ],
        wait_seconds=MAX_WAIT_SECONDS,
        page_items=_largest(*get_args(Limit)[1:]),
        url_seconds=settings.presign_seconds,
        retention_seconds=settings.retention_seconds,
    )


def _features(api: FastAPI, *, auth_required: bool) -> Features:
    """By the routes and fields that there are."""
    paths = [route.path or "" for route in iter_route_contexts(api.routes)]

    def has(start: str) -> bool:
        return any(path.startswith(start) for path in paths)

    return Features(
        auth_required=auth_required,
        datasets=has("/v1/datasets"),
        trainings=has("/v1/trainings"),
        inpainting="init_image" in GenerationRequest.model_fields,
        events="/v1/jobs/{job_id}/events" in paths,
        webhooks=has("/v1/webhooks"),
        usage=has("/v1/usage"),
        ogc_processes=has("/ogc"),
    )


def _largest(*fields: FieldInfo) -> int:
    """The largest number, or the greatest length, that the field takes."""
    rules: Iterable[Any] = (rule for field in fields for rule in field.metadata)
    for rule in rules:
        if isinstance(rule, Le):
            return int(str(rule.le))
        if isinstance(rule, MaxLen):
            return int(rule.max_length)
    raise ValueError("this field takes whatever is sent")
