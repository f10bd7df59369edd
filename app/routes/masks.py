"""/v1/masks: semantic masks, stored under the sha256 of their content."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from app.auth import Reads, Writes
from app.bodies import from_base64, parse_body
from app.dependencies import AppResources, MaskId, Resources
from app.idempotency import Repeats
from app.openapi import body_of, refusals, success
from app.schemas import MaskView, mask_view
from models.annotation_files import refuse_whole_file
from models.errors import FieldError, InvalidInput
from models.masks import preview_png
from worker.deletion import delete_mask as delete_it
from worker.drawing import Drawing
from worker.mask_reading import json_text
from worker.mask_records import read_mask

router = APIRouter(prefix="/v1/masks", tags=["masks"])


_INSTANCES = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        {"type": "array", "items": {"type": "object"}},
    ],
    "examples": [{"1": "ship", "2": "ship"}, [{"id": 1, "category_id": 17}]],
}


class MaskRequest(Drawing):
    """A file and how to read it, or polygons and the size of the mask."""

    file: str | None = Field(
        None,
        description="the mask file in base64 (multipart: the file part of this name)",
        validation_alias=AliasChoices("file", "mask"),
    )

    instances: Annotated[Any, BeforeValidator(json_text), Field(json_schema_extra=_INSTANCES)] = Field(
        None,
        description="with encoding=instance, what each object is: its number → category, or COCO's segments_info",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_whole_file(cls, body: Any) -> Any:
        refuse_whole_file(body)
        return body


@router.post(
    "",
    status_code=201,
    response_model=MaskView,
    responses=success(200, "this mask is known already", model=MaskView)
    | refusals(400, 409, 413, 415, 422, 503),
    openapi_extra=body_of(MaskRequest, file="file"),
)
async def create_mask(
    request: Request, response: Response, found: Resources, tenant: Writes, once: Repeats
) -> MaskView | Response:
    """Reads a mask file bit for bit, or draws polygons (JSON only); or refuses it and says where and why."""
    asked, file = await parse_body(request, MaskRequest, file="file")

    def keep() -> MaskView:
        view, created = _keep(found, tenant, asked, file)
        response.status_code = 201 if created else 200
        response.headers["Location"] = f"/v1/masks/{view.id}"
        return view

    return await once.answer(asked, keep, file=file)


@router.get("/{mask_id}", response_model=MaskView, responses=refusals(404, 422, 503))
def get_mask(mask_id: MaskId, found: Resources, tenant: Reads) -> MaskView:
    """What is known of the mask."""
    return mask_view(found.intake.find_mask(tenant, mask_id))


@router.get(
    "/{mask_id}/preview",
    response_class=Response,
    responses=success(200, "the picture", content={"image/png": {}}) | refusals(404, 422, 503),
)
def get_mask_preview(mask_id: MaskId, found: Resources, tenant: Reads) -> Response:
    """The mask in its categories' colours, as PNG."""
    mask = found.intake.find_mask(tenant, mask_id)
    return Response(preview_png(read_mask(found.intake.storage, tenant, mask.id)), media_type="image/png")


@router.delete("/{mask_id}", status_code=204, responses=refusals(404, 409, 422, 503))
def delete_mask(mask_id: MaskId, found: Resources, tenant: Writes) -> None:
    """Deletes the mask; ended jobs keep copies of their own. A mask that an open job needs stays: 409."""
    delete_it(found.intake, tenant, mask_id)


def _keep(found: AppResources, tenant: str, asked: MaskRequest, file: bytes | None) -> tuple[MaskView, bool]:
    if asked.polygons is not None:
        if file is not None or asked.file is not None:
            message = "send a file or polygons, not both"
            raise InvalidInput(
                f"/polygons: {message}.", code="file_and_polygons", errors=[FieldError("/polygons", message)]
            )
        decoded = asked.draw(max_side=found.settings.max_mask_side)
    else:
        if file is None and asked.file is None:
            raise InvalidInput(
                "Send the mask as the file part `file`, its base64 in the JSON field `file`, or polygons.",
                code="mask_missing",
                errors=[FieldError("/file", "is missing")],
            )
        asked.check_undrawn()
        data = from_base64(asked.file or "", pointer="/file") if file is None else file
        decoded = asked.decode(data, max_side=found.settings.max_mask_side, instances=asked.instances)
    record, created = found.intake.keep_mask(tenant, decoded)
    return mask_view(record), created
