"""/v1/training-sets: pictures with their masks, to train on; and what CF-Comp would make of them."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, Field

from app.auth import Reads, Trains
from app.bodies import parse_json, parse_upload
from app.dependencies import Resources, id_in_path
from app.idempotency import Repeats
from app.openapi import body_of, json_body, refusals, success
from app.schemas import FileView, file_view
from worker.training_preview import PreviewedPair, TrainingPreview, preview_training
from worker.training_set_manifest import TRAINING_SET_ID
from worker.training_sets import (
    KeptTrainingSet,
    Layout,
    TrainingSetCategory,
    TrainingSetRecord,
    TrainingSetRequest,
    find_training_set,
    keep_training_set,
)
from worker.training_specs import PreviewRequest

router = APIRouter(prefix="/v1", tags=["trainings"])
TrainingSetId = Annotated[str, id_in_path("tset_ and the sha256 of the set's manifest", TRAINING_SET_ID)]
_MOST_REFUSED = 1000  # listed; all are counted


class RefusedPair(BaseModel):
    """A pair, or a file, that is not in the set; invisible characters of its name are escaped."""

    name: str
    code: str
    message: str


class TrainingSetView(BaseModel):
    """`refused_pairs` counts what the upload that first made the set left out.

    `layout`: "pairs" are stored, and trained on in any order; "shards" stay where they were imported, and are read
    from beginning to end.
    """

    id: str
    layout: Layout
    pairs: int
    refused_pairs: int
    categories: list[TrainingSetCategory]
    warnings: list[str]


class CreatedTrainingSetView(TrainingSetView):
    """The set, and what of this upload is not in it: of refused pairs the first 1,000; files that are in no pair."""

    refused: list[RefusedPair]
    ignored: list[str]


class SheetView(FileView):
    sha256: str


class PreviewView(BaseModel):
    """`pairs` are on the sheet, a row for each: two real samples, then their composites."""

    pairs: int
    sheet: SheetView = Field(description="a PNG")
    composed: list[PreviewedPair]


@router.post(
    "/training-sets",
    status_code=201,
    response_model=CreatedTrainingSetView,
    responses=success(200, "this set is known already", model=CreatedTrainingSetView)
    | refusals(400, 404, 409, 413, 415, 422, 503),
    openapi_extra=body_of(TrainingSetRequest, file="file"),
)
async def create_training_set(
    request: Request, response: Response, found: Resources, tenant: Trains, once: Repeats
) -> CreatedTrainingSetView | Response:
    """Checks every pair of a zip, or under an import prefix, and keeps the good ones as one set.

    The layout is EarthSynth's: `images/` and `masks/` with files of the same names, and `train.jsonl` where texts or
    other names are wanted. Tar files under the prefix are taken as WebDataset shards.
    """
    async with parse_upload(request, TrainingSetRequest) as (asked, file):

        def keep() -> CreatedTrainingSetView:
            kept = keep_training_set(found.intake, tenant, asked, file)
            response.status_code = 201 if kept.created else 200
            response.headers["Location"] = f"/v1/training-sets/{kept.record.id}"
            return _created_view(kept)

        return await once.answer(asked, keep, file=file)


@router.get("/training-sets/{set_id}", response_model=TrainingSetView, responses=refusals(404, 422, 503))
def get_training_set(set_id: TrainingSetId, found: Resources, tenant: Reads) -> TrainingSetView:
    """What is known of the set."""
    return TrainingSetView(**_facts(find_training_set(found.intake.storage, tenant, set_id)))


@router.post(
    "/trainings/preview",
    response_model=PreviewView,
    responses=success(200, "the pairs; as image/png the sheet itself", content={"image/png": {}})
    | refusals(400, 404, 409, 413, 415, 422, 503),
    openapi_extra=json_body(PreviewRequest),
)
async def preview_composition(
    request: Request,
    found: Resources,
    tenant: Trains,
    once: Repeats,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> PreviewView | Response:
    """Draws what a training composes in its first steps, before any GPU time is spent.

    Ask as you will ask for the training: what is not said is what suits the base here too.
    """
    asked = await parse_json(request, PreviewRequest)
    storage = found.intake.storage

    async def make() -> PreviewView | Response:
        made = await to_thread.run_sync(
            preview_training, storage, found.registry, tenant, asked, limiter=found.preview_limiter
        )
        if "image/png" in accept and "application/json" not in accept:
            return Response(made.sheet, media_type="image/png")
        return _preview_view(made, SheetView(**dict(file_view(storage, made.key)), sha256=made.sha256))

    return await once.answer_of(asked, make)


def _facts(record: TrainingSetRecord) -> dict[str, object]:
    return record.model_dump(exclude={"pages", "reading"})


def _created_view(kept: KeptTrainingSet) -> CreatedTrainingSetView:
    refused = [
        RefusedPair(name=one.name, code=one.code, message=one.message) for one in kept.refused[:_MOST_REFUSED]
    ]
    return CreatedTrainingSetView(**_facts(kept.record), refused=refused, ignored=list(kept.ignored))


def _preview_view(made: TrainingPreview, sheet: SheetView) -> PreviewView:
    return PreviewView(pairs=len(made.composed), sheet=sheet, composed=list(made.composed))
