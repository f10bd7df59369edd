"""Examples: jobs, their events and results, who does the work. Others build theirs from `job_example`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.examples.example import JOB_ID, MASK_ID, Codes, Example
from app.examples.problems import JOB_ADMISSION, LIST

NANO: dict[str, Any] = {
    "name": "nano",
    "version": "2",
    "sha256": "f91068efb1888a6dfba3fc119df6342bd79e81d7c729388ec70c95f99731d65b",
}
FILES = "https://s3.example.org/earthsynth/acme/jobs/"
SIGNED = "?X-Amz-Expires=3600&X-Amz-Signature=5a8f90ac83f4f463"
EXPIRES: dict[str, Any] = {"expires_at": "2026-11-26T20:32:17Z"}

RENDERING: dict[str, Any] = {
    "model": "nano@2",
    "seed": 7,
    "num_inference_steps": 10,
    "guidance_scale": 3.0,
    "controlnet_conditioning_scale": 1.0,
    "scheduler": "unipc",
    "negative_prompt": "",
    "width": 256,
    "height": 256,
    "size_policy": "resize",
    "filter": {"policy": "balanced", "max_tries": 4, "keep_rejected": False, "thresholds": {}},
}
GENERATION = RENDERING | {
    "kind": "generation",
    "mask_id": MASK_ID,
    "prompt": "A satellite image of road, building",
    "categories": ["road", "building"],
    "on_mismatch": "error",
    "num_images": 1,
}


def job_example(
    job_id: str,
    status: str = "succeeded",
    *,
    kind: str = "generation",
    request: Mapping[str, Any] = GENERATION,
    total: int = 1,
    model: Mapping[str, Any] = NANO,
    **changes: Any,
) -> dict[str, Any]:
    """A job of `total` samples as clients see it, queued, canceled before it began, or succeeded."""
    made = total if status == "succeeded" else 0
    begun, ended = "2026-11-26T19:32:13.552000Z", "2026-11-26T19:32:17.612000Z"
    attempt = {
        "number": 1,
        "worker": "earthsynth-worker-gpu0-35020fe01ecc",
        "started_at": begun,
        "ended_at": ended,
        "outcome": "succeeded",
    }
    path = f"/v1/jobs/{job_id}"
    return {
        "id": job_id,
        "kind": kind,
        "status": status,
        "phase": None,
        "created_at": "2026-11-26T19:32:13.395000Z",
        "started_at": begun if made else None,
        "finished_at": None if status == "queued" else ended,
        "expires_at": "2026-12-26T19:32:13.395000Z",
        "progress": {
            "done": made,
            "total": total,
            "unit": "images",
            "step": 10 if made else 0,
            "steps": 10 if made else 0,
            "eta_seconds": None,
            "metrics": {},
        },
        "queue": {"position": 0, "eta_seconds": None} if status == "queued" else None,
        "counts": {
            "requested": total,
            "accepted": made,
            "exhausted": 0,
            "failed": total if status == "canceled" else 0,
            "pending": total if status == "queued" else 0,
            "generated": made,
            "rejected": 0,
        },
        "attempts": [attempt] if made else [],
        "request": dict(request),
        "model": dict(model),
        "warnings": [],
        "custom_id": None,
        "metadata": {},
        "retried_from": None,
        "error": None,
        "links": {
            "self": path,
            "events": f"{path}/events",
            "results": f"{path}/results",
            "cancel": f"{path}/cancel",
        },
    } | changes


def file_example(key: str) -> dict[str, Any]:
    """A presigned URL under the tenant's jobs."""
    return {"url": f"{FILES}{key}{SIGNED}", **EXPIRES, "link": f"/v1/files/jobs/{key}"}


def sample_example(**changes: Any) -> dict[str, Any]:
    """A sample that R-Filter has accepted."""
    folder = f"{JOB_ID}/attempt-1-1ebde7d9"
    mask = f"{folder}/masks/8b71db6f1dab9d8a3eac466eddaff3e6.png"
    size = {"width": 256, "height": 256}
    picture = {"sha256": "7e341e0cced0d77a4724894f212ed44fd01578c02ae37909ceb29e3edd580640"} | size
    rule = {
        "name": "technical",
        "score": 6.4888,
        "threshold": 1.0,
        "passed": True,
        "detail": "Its grey levels hold 6.49 bits, at least 1 are needed.",
    }
    return {
        "index": 0,
        "status": "accepted",
        "seed": 7,
        "prompt": "A satellite image of road, building",
        "mask_id": MASK_ID,
        "mask_sha256": MASK_ID.removeprefix("msk_"),
        "image": file_example(f"{folder}/000000-0.png") | picture,
        "mask": file_example(mask),
        "label": file_example(mask),
        "labels": {"categories": ["bare land", "road", "building"], "annotations": []},
        "filter": {"accepted": True, "rules": [rule]},
        "group": MASK_ID,
        "transform": {},
        "init_image_sha256": None,
        "georeference": None,
        "files": {},
        "try_number": 0,
        "attempt": 1,
        "custom_id": None,
        "metadata": {},
    } | changes


def checked_example(
    kind: str, request: Mapping[str, Any], *, model: Mapping[str, Any] = NANO, images: int, seconds: float
) -> dict[str, Any]:
    """The answer to `validate_only`."""
    return {
        "valid": True,
        "kind": kind,
        "request": dict(request),
        "model": dict(model),
        "warnings": [],
        "estimate": {"images": images, "seconds": seconds},
    }


_EVENTS = """\
event: status
data: {"status":"running","phase":"conditions","attempts":1,"counts":{"requested":1,…},"error":null,"at":"2026-11-26T19:32:13.562000Z"}
id: 1795721533562-0

event: progress
data: {"phase":"synthesis","progress":{"done":0,"total":1,"unit":"images","step":4,"steps":10,"eta_seconds":2.1,"metrics":{}},…}
id: 1795721535209-0

event: sample
data: {"index":0,"status":"accepted","seed":7,"attempt":1,"at":"2026-11-26T19:32:17.601000Z"}
id: 1795721537601-0

event: status
data: {"status":"succeeded","phase":null,"attempts":1,"counts":{"requested":1,…},"error":null,"at":"2026-11-26T19:32:17.621000Z"}
id: 1795721537621-0
"""  # noqa: E501  (an event is one line)

_WORKER = {
    "name": "earthsynth-worker-gpu0-35020fe01ecc",
    "host": "gpu0",
    "pid": 22922,
    "status": "busy",
    "reason": None,
    "device": "cuda:0",
    "model": NANO,
    "job": JOB_ID,
    "queue": "generation",
    "started_at": "2026-11-26T19:32:09.321000Z",
    "seen_at": "2026-11-26T19:32:16.873000Z",
}
_AGAIN_ID = "job_01m858q6w3j8r5t2y9c4v7b1nz"
_USED = {
    "jobs": {"generation": {"succeeded": 41, "canceled": 1}, "dataset": {"succeeded": 2}},
    "worker_seconds": {"generation": 171.3, "dataset": 3604.9},
    "images_generated": 2210,
    "images_accepted": 1987,
}
_FOUND: Codes = {404: ("job_not_found",)}
_LISTED: Codes = {422: LIST}

EXAMPLES: Mapping[str, Example] = {
    "list_jobs": Example(
        {200: {"items": [job_example(JOB_ID)], "next_cursor": JOB_ID}}, query={"limit": 1}, codes=_LISTED
    ),
    "get_job": Example({200: job_example(JOB_ID)}, codes=_FOUND),
    "get_job_results": Example(
        {200: {"items": [sample_example()], "next_cursor": None}}, codes=_FOUND | _LISTED
    ),
    "get_job_events": Example({200: _EVENTS, 204: None}, codes=_FOUND),
    "retry_job": Example(
        {202: job_example(_AGAIN_ID, "queued", retried_from=JOB_ID)},
        codes=_FOUND | {409: ("job_not_ended", "nothing_to_retry"), 429: JOB_ADMISSION},
    ),
    "delete_job": Example({204: None}, codes=_FOUND),
    "get_file": Example({307: None}, codes={404: ("file_not_found",)}),
    "get_usage": Example(
        {
            200: {
                "first": "2026-11-01",
                "last": "2026-11-30",
                "items": [{"date": "2026-11-26"} | _USED],
                "total": _USED,
            }
        },
        query={"from": "2026-11-01", "to": "2026-11-30"},
        codes={422: ("unknown_field", "repeated_field", "invalid_request", "invalid_period")},
    ),
    "cancel_job": Example({200: job_example(JOB_ID, "canceled")}, codes=_FOUND | {409: ("job_ended",)}),
    "list_workers": Example({200: {"items": [_WORKER], "next_cursor": None}}),
}
