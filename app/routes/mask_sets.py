"""/v1/mask-sets: many masks at once, from a zip or from the tenant's imports."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.auth import Reads, Writes
from app.bodies import parse_upload
from app.dependencies import Resources, id_in_path
from app.idempotency import Repeats
from app.openapi import body_of, refusals, success
from worker.mask_set_manifest import MASK_SET_ID
from worker.mask_sets import (
    KeptMaskSet,
    MaskSetCategory,
    MaskSetRecord,
    MaskSetRequest,
    find_mask_set,
    keep_mask_set,
)

router = APIRouter(prefix="/v1/mask-sets", tags=["masks"])
MaskSetId = Annotated[str, id_in_path("mset_ and the sha256 of the set's manifest", MASK_SET_ID)]


class RefusedFile(BaseModel):
    """A file that is not in the set; invisible characters of its name are escaped."""

    name: str
    code: str
    message: str


class MaskSetView(BaseModel):
    """`masks` of `files` files; `width` and `height` are null where the masks differ in size."""

    id: str
    masks: int
    files: int
    width: int | None
    height: int | None
    categories: list[MaskSetCategory]
    warnings: list[str]


class CreatedMaskSetView(MaskSetView):
    """The set, and what of this upload is not in it."""

    refused: list[RefusedFile]
    ignored: list[str]


@router.post(
    "",
    status_code=201,
    response_model=CreatedMaskSetView,
    responses=success(200, "this set is known already", model=CreatedMaskSetView)
    | refusals(400, 409, 413, 415, 422, 503),
    openapi_extra=body_of(MaskSetRequest, file="file"),
)
async def create_mask_set(
    request: Request, response: Response, found: Resources, tenant: Writes, once: Repeats
) -> CreatedMaskSetView | Response:
    """Checks every mask of a zip (or under an import prefix) and keeps them as one set, or says which are wrong."""
    async with parse_upload(request, MaskSetRequest) as (asked, file):

        def keep() -> CreatedMaskSetView:
            kept = keep_mask_set(found.intake, tenant, asked, file)
            response.status_code = 201 if kept.created else 200
            response.headers["Location"] = f"/v1/mask-sets/{kept.record.id}"
            return _created_view(kept)

        return await once.answer(asked, keep, file=file)


@router.get("/{set_id}", response_model=MaskSetView, responses=refusals(404, 422, 503))
def get_mask_set(set_id: MaskSetId, found: Resources, tenant: Reads) -> MaskSetView:
    """What is known of the set."""
    return MaskSetView(**_facts(find_mask_set(found.intake.storage, tenant, set_id)))


def _facts(record: MaskSetRecord) -> dict[str, object]:
    return record.model_dump(exclude={"pages", "sizes"})


def _created_view(kept: KeptMaskSet) -> CreatedMaskSetView:
    refused = [RefusedFile(name=line.name, code=line.code, message=line.message) for line in kept.refused]
    return CreatedMaskSetView(**_facts(kept.record), refused=refused, ignored=list(kept.ignored))
