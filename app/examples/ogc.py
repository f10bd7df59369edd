"""Examples: OGC API - Processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.document_text import VERSION
from app.examples.example import JOB_ID, MASK_FILE, MASK_ID, Codes, Example
from app.examples.jobs import file_example
from app.examples.problems import DRAWING, FIELDS, JOB_ADMISSION, LIST, MASK_FILE_CODES, PAINTING, RENDERING

_ROOT = "http://localhost:8000/ogc"
_REL = "http://www.opengis.net/def/rel/ogc/1.0/"
_SPEC = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"


def _link(path: str, rel: str, title: str) -> dict[str, Any]:
    return {"href": f"{_ROOT}{path}", "rel": rel, "type": "application/json", "title": title}


_SUMMARY: dict[str, Any] = {
    "id": "earthsynth",
    "version": VERSION,
    "title": "Pictures from a mask",
    "description": "Synthetic satellite pictures that follow a semantic mask, filtered, with exact labels.",
    "keywords": ["remote sensing", "synthetic data", "semantic segmentation"],
    "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
    "outputTransmission": ["value", "reference"],
    "links": [
        _link("/processes/earthsynth", "self", "the process"),
        _link("/processes/earthsynth/execution", f"{_REL}execute", "execute it"),
    ],
}
_PROCESS = _SUMMARY | {
    "inputs": {
        "num_images": {
            "title": "Num images",
            "description": "As num_images of POST /v1/generations.",
            "schema": {"type": "integer", "default": 1, "minimum": 1, "maximum": 16},
            "minOccurs": 0,
            "maxOccurs": 1,
        }
    },
    "outputs": {
        "images": {
            "title": "Pictures",
            "description": "A PNG for each accepted sample, by index.",
            "schema": {
                "type": "array",
                "items": {"type": "string", "contentEncoding": "binary", "contentMediaType": "image/png"},
            },
        }
    },
}
_ACCEPTED: dict[str, Any] = {
    "jobID": JOB_ID,
    "processID": "earthsynth",
    "type": "process",
    "status": "accepted",
    "created": "2026-11-26T19:32:13.395000Z",
    "updated": "2026-11-26T19:32:13.395000Z",
    "progress": 0,
    "links": [_link(f"/jobs/{JOB_ID}", "self", "this document")],
}
_SUCCESSFUL: dict[str, Any] = _ACCEPTED | {
    "status": "successful",
    "started": "2026-11-26T19:32:13.552000Z",
    "finished": "2026-11-26T19:32:17.612000Z",
    "updated": "2026-11-26T19:32:17.612000Z",
    "progress": 100,
    "links": [*_ACCEPTED["links"], _link(f"/jobs/{JOB_ID}/results", f"{_REL}results", "results")],
}
_DISMISSED = _ACCEPTED | {"status": "dismissed", "message": "It stops within one denoising step."}
_PICTURE = {
    "href": file_example(f"{JOB_ID}/attempt-1-1ebde7d9/000000-0.png")["url"],
    "type": "image/png",
}
_RESULTS = {"images": [_PICTURE]}
_FAILED: tuple[str, ...] = ("out_of_memory", "worker_lost", "model_unavailable")
_FOUND: Codes = {404: ("no_such_job",)}

EXAMPLES: Mapping[str, Example] = {
    "get_ogc_landing_page": Example(
        {
            200: {
                "title": "EarthSynth",
                "description": "Synthetic satellite pictures with exact labels, from semantic masks.",
                "links": [
                    _link("/", "self", "this document"),
                    _link("/processes", f"{_REL}processes", "processes"),
                ],
            }
        }
    ),
    "get_ogc_conformance": Example({200: {"conformsTo": [f"{_SPEC}core", f"{_SPEC}json"]}}),
    "list_ogc_processes": Example(
        {200: {"processes": [_SUMMARY], "links": [_link("/processes", "self", "this document")]}},
        codes={422: ("unknown_field", "repeated_field", "out_of_range")},
    ),
    "get_ogc_process": Example({200: _PROCESS}, codes={404: ("no_such_process",)}),
    "execute_ogc_process": Example(
        {200: _RESULTS, 201: _ACCEPTED, 204: None},
        bodies={
            "a stored mask; one document with a link to each picture": {
                "inputs": {
                    "mask": {"href": f"/v1/masks/{MASK_ID}"},
                    "categories": ["road", "building"],
                    "seed": 7,
                },
                "outputs": {"images": {"transmissionMode": "reference"}},
                "response": "document",
            },
            "a mask in the request; the picture itself": {
                "inputs": {
                    "mask": {"value": MASK_FILE, "mediaType": "image/png", "encoding": "base64"},
                    "num_images": 1,
                },
                "outputs": {"images": {}},
            },
        },
        codes={
            404: ("no_such_process", "mask_not_found", "job_dismissed"),
            422: (
                *("mask_missing", "mask_and_mask_id", "mask_not_ours", "prompt_and_categories"),
                *("category_not_in_mask", "wrong_size", "url_not_allowed", "invalid_base64"),
                *(*RENDERING, *DRAWING, *PAINTING, *FIELDS, *MASK_FILE_CODES),
            ),
            415: ("unsupported_media_type", "unsupported_content_encoding", "unsupported_format"),
            429: JOB_ADMISSION,
            500: (*_FAILED, "model_manifest_damaged"),
        },
    ),
    "list_ogc_jobs": Example(
        {200: {"jobs": [_SUCCESSFUL], "links": [_link("/jobs?limit=1", "self", "this document")]}},
        query={"status": "successful", "limit": 1},
        codes={422: (*LIST, "invalid_request")},
    ),
    "get_ogc_job": Example({200: _SUCCESSFUL}, codes=_FOUND),
    "get_ogc_results": Example(
        {200: _RESULTS, 204: None},
        codes={404: ("no_such_job", "result_not_ready", "job_dismissed"), 500: _FAILED},
    ),
    "dismiss_ogc_job": Example({200: _DISMISSED}, codes=_FOUND),
}
