"""/v1/files: what was made, under addresses that stay the same."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from app.auth import Reads
from app.dependencies import Resources, id_in_path
from app.openapi import refusals
from models.errors import NotFound

router = APIRouter(prefix="/v1/files", tags=["files"])

# Pictures, masks, labels, archives, sheets. Not the service's own documents: their shape is no promise.
_READABLE = re.compile(
    r"(?:jobs/job_[0-9a-hjkmnp-tv-z]{26}/(?:made/[0-9a-z-]+/)?(?:attempt-[0-9a-f-]+|validations|tensorboard)"
    r"|masks|training-previews)(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+\.(?!json)[a-z0-9.]+"
)


@router.get(
    "/{key:path}",
    status_code=307,
    response_class=RedirectResponse,
    responses=refusals(404, 422, 503),
)
def get_file(
    key: Annotated[str, id_in_path("the end of a `link`", _READABLE)],
    found: Resources,
    tenant: Reads,
) -> RedirectResponse:
    """Redirects to a fresh presigned URL of a file of yours, as `link` of every file names it."""
    storage = found.intake.storage
    if not _READABLE.fullmatch(key) or not storage.exists(f"{tenant}/{key}"):
        raise NotFound("There is no such file.", code="file_not_found")
    return RedirectResponse(storage.presign(f"{tenant}/{key}")[0])
