"""Links of the OGC documents, absolute, since clients of the standard seldom resolve relative ones."""

from __future__ import annotations

from fastapi import Request
from pydantic import BaseModel

from worker.settings import Settings

ROOT = "/ogc"
PROCESS_ID = "earthsynth"
_RELATIONS = "http://www.opengis.net/def/rel/ogc/1.0/"

CONFORMANCE_REL = f"{_RELATIONS}conformance"
PROCESSES_REL = f"{_RELATIONS}processes"
JOB_LIST_REL = f"{_RELATIONS}job-list"
EXECUTE_REL = f"{_RELATIONS}execute"
RESULTS_REL = f"{_RELATIONS}results"

JSON = "application/json"


class Link(BaseModel):
    """A web link (RFC 8288)."""

    href: str
    rel: str
    type: str | None = None
    title: str | None = None


class LandingPage(BaseModel):
    title: str
    description: str
    links: list[Link]


class Conformance(BaseModel):
    """The conformance classes of the standard that are met."""

    conformsTo: list[str]  # noqa: N815  (the standard's spelling)


def base(request: Request) -> str:
    """Where this service is, without a slash at the end.

    By the settings' `public_url`. Without one, on a loopback address, by the name that the client used; elsewhere
    that is a stranger's word, so that links are relative there (H15).
    """
    settings: Settings = request.app.state.resources.settings
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    return str(request.base_url).rstrip("/") if settings.on_loopback else ""


def url(request: Request, path: str) -> str:
    """The URL of a path below `/ogc`."""
    return f"{base(request)}{ROOT}{path}"


def link(request: Request, path: str, rel: str, title: str, kind: str = JSON) -> Link:
    return Link(href=url(request, path), rel=rel, type=kind, title=title)


_CLASSES = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"

# Not "oas30": what is published is OpenAPI 3.1. Not "html" and "callback": there are neither.
CONFORMANCE = Conformance(
    conformsTo=[
        f"{_CLASSES}{name}" for name in ("core", "json", "job-list", "dismiss", "ogc-process-description")
    ]
    + ["http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core"]
)


def landing_page(request: Request) -> LandingPage:
    service = base(request)
    return LandingPage(
        title="EarthSynth",
        description="Synthetic satellite pictures with exact labels, from semantic masks.",
        links=[
            link(request, "/", "self", "this document"),
            Link(
                href=f"{service}/openapi.json",
                rel="service-desc",
                type="application/vnd.oai.openapi+json;version=3.1",
                title="the API, in OpenAPI",
            ),
            Link(href=f"{service}/docs", rel="service-doc", type="text/html", title="the API, for people"),
            link(request, "/conformance", CONFORMANCE_REL, "conformance classes that are met"),
            link(request, "/processes", PROCESSES_REL, "processes"),
            link(request, "/jobs", JOB_LIST_REL, "jobs"),
        ],
    )
