"""/v1/models: what pictures can be made with, what a name means now, and which model is the default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.auth import Reads, Trains
from app.bodies import parse_json
from app.dependencies import AppResources, Resources, id_in_path
from app.idempotency import Repeats
from app.openapi import json_body, refusals
from models.card_file import MODEL_NAME
from models.errors import NotFound, UnknownModel
from models.model_card import ModelCard
from worker.model_manifest import MODEL_VERSION, ModelFile
from worker.registry import ListedModel

router = APIRouter(prefix="/v1/models", tags=["models"])
_NAME_AND_VERSION = re.compile(f"{MODEL_NAME.pattern}(@{MODEL_VERSION.pattern})?")
ModelName = Annotated[str, id_in_path("name, or name@version", _NAME_AND_VERSION)]
PlainName = Annotated[str, id_in_path("the name without a version", MODEL_NAME)]


class ModelSource(StrEnum):
    SHIPPED = "shipped"  # part of this release
    REGISTRY = "registry"  # published by a training of this tenant


class DefaultsView(BaseModel):
    num_inference_steps: int
    guidance_scale: float
    controlnet_conditioning_scale: float
    scheduler: str
    negative_prompt: str


class ModelView(BaseModel):
    """`current`: the name alone means this version; `default`: a request that names no model means it.

    `sha256` is the digest over all weight files; null where the weights carry no pin. `base` is the version that this
    one was trained on, by the job `training_id`; both are null for a shipped model.
    """

    name: str
    version: str
    title: str
    licence: str
    sha256: str | None
    source: ModelSource
    current: bool
    default: bool
    created_at: datetime | None
    base: str | None
    training_id: str | None
    categories: list[str]
    width: int
    height: int
    max_side: int
    size_multiple: int
    defaults: DefaultsView


class ModelDetailView(ModelView):
    """How a trained version was made, and of which files it is; all null for a shipped model.

    `files`: by place in the pipeline ("unet/config.json").
    """

    recipe: dict[str, Any] | None
    data: dict[str, Any] | None
    metrics: dict[str, Any] | None
    files: dict[str, ModelFile] | None


class ModelList(BaseModel):
    items: list[ModelView]
    next_cursor: str | None = None


class PromoteRequest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(max_length=20, description="what the name alone is to mean")


@router.get("", response_model=ModelList, responses=refusals(503))
def list_models(found: Resources, tenant: Reads) -> ModelList:
    """The models of this release that are offered, then every trained version by name, the newest first."""
    return ModelList(items=[_view(listed) for listed in found.registry.list(tenant)])


@router.get("/{name}", response_model=ModelDetailView, responses=refusals(404, 422, 500, 503))
def get_model(name: ModelName, found: Resources, tenant: Reads) -> ModelDetailView:
    """One model, by `name` or `name@version`: for a trained one with its recipe, its data and its files."""
    with _named_in_path():
        return _detail(found.registry.look(tenant, name))


# Before the routes of a model: "default" is no model's name.
@router.post("/default/rollback", response_model=ModelView, responses=refusals(400, 409, 422, 500, 503))
async def rollback_default_model(found: Resources, tenant: Trains, once: Repeats) -> ModelView | Response:
    """Makes the model of requests that name none the one it was before. Repeated, it goes back further."""

    def roll_back() -> ModelView:
        return _of(found, tenant, found.registry.rollback_default(tenant))

    return await once.answer(None, roll_back)


@router.post("/{name}/default", response_model=ModelView, responses=refusals(400, 404, 409, 422, 500, 503))
async def set_default_model(
    name: ModelName, found: Resources, tenant: Trains, once: Repeats
) -> ModelView | Response:
    """Makes it the model of requests that name none: `name`, whatever it will mean, or `name@version` for good."""

    def set_it() -> ModelView:
        with _named_in_path():
            return _of(found, tenant, found.registry.set_default(tenant, name))

    return await once.answer(None, set_it)


@router.post(
    "/{name}/promote",
    response_model=ModelView,
    responses=refusals(400, 404, 409, 413, 415, 422, 500, 503),
    openapi_extra=json_body(PromoteRequest),
)
async def promote_model(
    request: Request, name: PlainName, found: Resources, tenant: Trains, once: Repeats
) -> ModelView | Response:
    """Makes the name alone mean that version from now on; before the first promotion it means the newest."""
    asked = await parse_json(request, PromoteRequest)

    def promote_it() -> ModelView:
        try:
            card = found.registry.promote(tenant, name, asked.version)
        except UnknownModel:
            with _named_in_path():
                found.registry.find(tenant, name)
            raise
        return _of(found, tenant, card)

    return await once.answer(asked, promote_it)


@router.post("/{name}/rollback", response_model=ModelView, responses=refusals(400, 404, 409, 422, 500, 503))
async def rollback_model(
    name: PlainName, found: Resources, tenant: Trains, once: Repeats
) -> ModelView | Response:
    """Makes the name mean what it meant before the last promotion. Repeated, it goes back further."""

    def roll_back() -> ModelView:
        with _named_in_path():
            return _of(found, tenant, found.registry.rollback(tenant, name))

    return await once.answer(None, roll_back)


@contextmanager
def _named_in_path() -> Iterator[None]:
    """What is absent under its own path is 404; named in a body it is 422."""
    try:
        yield
    except UnknownModel as error:
        raise NotFound(error.message, code=error.code) from None


def _of(found: AppResources, tenant: str, card: ModelCard) -> ModelView:
    return _view(found.registry.look(tenant, f"{card.name}@{card.version}"))


def _view(listed: ListedModel) -> ModelView:
    return ModelView(**_facts(listed))


def _detail(listed: ListedModel) -> ModelDetailView:
    manifest = listed.manifest
    return ModelDetailView(
        **_facts(listed),
        recipe=manifest and manifest.recipe,
        data=manifest and manifest.data,
        metrics=manifest and manifest.metrics,
        files=manifest and manifest.files,
    )


def _facts(listed: ListedModel) -> dict[str, Any]:
    card, manifest = listed.card, listed.manifest
    return {
        "name": card.name,
        "version": card.version,
        "title": card.title,
        "licence": card.licence,
        "sha256": card.digest,
        "source": ModelSource.SHIPPED if manifest is None else ModelSource.REGISTRY,
        "current": listed.current,
        "default": listed.default,
        "created_at": manifest and manifest.created_at,
        "base": manifest and manifest.base,
        "training_id": manifest and manifest.training_id,
        "categories": list(card.category_names),
        "width": card.native_width,
        "height": card.native_height,
        "max_side": card.max_side,
        "size_multiple": card.size_multiple,
        "defaults": DefaultsView(
            num_inference_steps=card.defaults.num_inference_steps,
            guidance_scale=card.defaults.guidance_scale,
            controlnet_conditioning_scale=card.defaults.controlnet_conditioning_scale,
            scheduler=card.defaults.scheduler.value,
            negative_prompt=card.defaults.negative_prompt,
        ),
    }
