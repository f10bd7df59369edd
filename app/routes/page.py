"""GET / and /docs: the web page and the API's reference. They need no key; what they ask the API for does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from app.dependencies import Resources
from app.web.files import DOCS, INDEX, PageFile, page_files
from app.web.headers import content_security_policy, is_known, page_headers
from models.errors import NotFound

router = APIRouter(include_in_schema=False)
IfNoneMatch = Annotated[str | None, Header()]


@router.get("/")
def get_page(found: Resources, if_none_match: IfNoneMatch = None) -> Response:
    """The page."""
    policy = content_security_policy(found.intake.storage.presigned_origin())
    return _sent(page_files()[INDEX], if_none_match, {"Content-Security-Policy": policy})


@router.get("/docs")
async def get_docs(if_none_match: IfNoneMatch = None) -> Response:
    """Swagger UI on the published document; FastAPI's own page loads it from another host, and has inline script."""
    policy = content_security_policy("data:")  # the icons in its style sheet
    return _sent(page_files()[DOCS], if_none_match, {"Content-Security-Policy": policy})


@router.get("/page/{name}")
async def get_page_file(name: str, if_none_match: IfNoneMatch = None) -> Response:
    """A style sheet, module or picture of the page."""
    file = page_files().get(name)
    if file is None or name in {INDEX, DOCS}:
        raise NotFound("There is no such file.", code="file_not_found")
    return _sent(file, if_none_match, {"Content-Security-Policy": "default-src 'none'"})


def _sent(file: PageFile, if_none_match: str | None, more: dict[str, str]) -> Response:
    headers = page_headers(file) | more
    if is_known(file, if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
