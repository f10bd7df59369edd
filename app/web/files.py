"""The files of the web page, as they are sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

INDEX = "index.html"
DOCS = "docs.html"
# Swagger UI as its makers publish it; of the package that brings it nothing else is used.
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
# Said here and not guessed: what `mimetypes` knows depends on the machine.
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    content: bytes
    media_type: str
    etag: str


@cache
def page_files() -> Mapping[str, PageFile]:
    """Every file by its name, read once: they are small, and change with the release only."""
    swagger = files("fastapi_swagger.resources")
    sample = files("models.nano") / "sample_mask.png"  # the demo's too
    found = [*(files("app.web") / "static").iterdir(), *(swagger / name for name in _SWAGGER), sample]
    return {file.name: _read(file) for file in found}


def _read(file: Traversable) -> PageFile:
    content, suffix = file.read_bytes(), file.name[file.name.rindex(".") :]
    return PageFile(content, _MEDIA_TYPES[suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
