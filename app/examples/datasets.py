"""Examples: data sets and their exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.examples.example import DATASET_ID, EXPORT_ID, MASK_SET_ID, Codes, Example
from app.examples.jobs import EXPIRES, FILES, RENDERING, SIGNED, job_example, sample_example
from app.examples.problems import FIELDS, JOB_ADMISSION, LIST
from app.examples.problems import RENDERING as RENDERING_CODES

_FILTER = RENDERING["filter"]
_SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
_REQUEST = RENDERING | {
    "kind": "dataset",
    "name": "villages",
    "licence": "CC-BY-4.0",
    "mask_set_id": MASK_SET_ID,
    "masks": 2,
    "samples_per_mask": 1,
    "goal": None,
    "prompt": None,
    "conditions": {
        "flip": True,
        "rotate90": False,
        "translate": 0.0,
        "scale": [1.0, 1.0],
        "single_category": 0.0,
        "extra_category_probability": 0.0,
    },
    "splits": _SHARES,
    "formats": [],
    "shard_images": 8,
}
_EXPORT_REQUEST = {
    "kind": "export",
    "dataset_id": DATASET_ID,
    "selection": 0,
    "options": {
        "format": "coco",
        "min_area": 1,
        "include_stuff": True,
        "all_classes": False,
        "shard_samples": 1000,
    },
    "splits": _SHARES,
    "samples": 2,
}
_COUNTS = job_example(DATASET_ID, total=2)["counts"]
_ROAD = {
    "id": 4,
    "requested": 2,
    "accepted": 2,
    "generated": 2,
    "acceptance": 1.0,
    "failed_by_rule": {},
    "pixels": 768,
    "instances": 0,
    "quota": 3,
}
_REPORT = {
    "rules": {"technical": {"passed": 2, "failed": 0, "unknown": 0}},
    "categories": {"road": _ROAD},
    "histogram_before": {"road": 768},
    "histogram_after": {"road": 768},
    "same_mask_distance": None,
    "pictures_not_kept": 0,
    "unfiltered": [],
    "goal": None,
    "warnings": [],
}
_PATH = f"/v1/datasets/{DATASET_ID}"
_DATASET = {
    "id": DATASET_ID,
    "name": "villages",
    "job": job_example(DATASET_ID, kind="dataset", request=_REQUEST, total=2),
    "categories": {"road": {"generated": 2, "accepted": 2}},
    "selection": {
        "number": 0,
        "created_at": "2026-11-26T19:32:29.098000Z",
        "filter": _FILTER,
        "counts": _COUNTS,
        "report": _REPORT,
    },
    "links": {
        "self": _PATH,
        "job": f"/v1/jobs/{DATASET_ID}",
        "samples": f"{_PATH}/samples",
        "refilter": f"{_PATH}/refilter",
        "exports": f"{_PATH}/exports",
    },
}
_EXPORT = {
    "id": EXPORT_ID,
    "format": "coco",
    "status": "succeeded",
    "selection": 0,
    "created_at": "2026-11-26T19:32:29.672000Z",
    "archive": {
        "url": f"{FILES}{EXPORT_ID}/attempt-1-34faac48/{DATASET_ID}-coco.zip{SIGNED}",
        **EXPIRES,
        "link": f"/v1/files/jobs/{EXPORT_ID}/attempt-1-34faac48/{DATASET_ID}-coco.zip",
        "bytes": 101918,
        "sha256": "84b337d65439496fed81ef4b85c6782a8bc63d575211a0c2a3b8f328e1fb9dbd",
    },
    "files_prefix": f"acme/jobs/{EXPORT_ID}/attempt-1-34faac48/files/",
    "pictures": 2,
    "annotations": 6,
    "fidelity": {"road": 1.0},
    "report": {
        "pictures": 2,
        "annotations": 6,
        "splits": {"train": 2},
        "class_histogram": {"road": 768},
        "instances": {"road": 6},
        "fidelity": {"road": 1.0},
        "readers": [{"reader": "pycocotools", "version": "2.0.11", "pictures": 2, "annotations": 6}],
        "warnings": [],
    },
    "error": None,
}
_JOB: dict[str, Any] = {"kind": "dataset", "request": _REQUEST, "total": 2}
_EXPORT_JOB: dict[str, Any] = {"kind": "export", "request": _EXPORT_REQUEST, "total": 2}
_FOUND: Codes = {404: ("dataset_not_found",)}

EXAMPLES: Mapping[str, Example] = {
    "create_dataset": Example(
        {202: job_example(DATASET_ID, "queued", **_JOB), 200: job_example(DATASET_ID, **_JOB)},
        bodies={
            "so many samples of each mask": {
                "name": "villages",
                "licence": "CC-BY-4.0",
                "masks": {"mask_set_id": MASK_SET_ID},
                "samples_per_mask": 1,
                "conditions": {"flip": True},
                "seed": 7,
            },
            "until a category has enough, exported when done": {
                "masks": {"mask_set_id": MASK_SET_ID},
                "goal": {"accepted_per_category": {"road": 200}},
                "formats": ["semantic", {"format": "coco", "include_stuff": True}],
            },
        },
        codes={
            404: ("mask_set_not_found", "mask_not_found"),
            429: JOB_ADMISSION,
            422: (
                *("goal_unreachable", "too_many_samples", "invalid_split", "wrong_size"),
                *(*RENDERING_CODES, *FIELDS),
            ),
        },
    ),
    "get_dataset": Example({200: _DATASET}, codes=_FOUND),
    "get_dataset_samples": Example(
        {200: {"items": [sample_example()], "next_cursor": None}},
        codes=_FOUND | {422: LIST},
    ),
    "refilter_dataset": Example(
        {200: _DATASET},
        bodies={
            "another policy, one rule off": {"policy": "strict", "thresholds": {"image_text": None}},
        },
        codes=_FOUND | {409: ("dataset_not_ready", "refilter_conflict"), 422: FIELDS},
    ),
    "create_export": Example(
        {202: job_example(EXPORT_ID, "queued", **_EXPORT_JOB), 200: job_example(EXPORT_ID, **_EXPORT_JOB)},
        bodies={"COCO, land cover as annotations too": {"format": "coco", "include_stuff": True}},
        codes=_FOUND
        | {409: ("dataset_not_ready", "dataset_empty"), 429: JOB_ADMISSION, 422: ("invalid_split", *FIELDS)},
    ),
    "list_exports": Example({200: {"items": [_EXPORT], "next_cursor": None}}, codes=_FOUND),
    "get_export": Example({200: _EXPORT}, codes={404: ("dataset_not_found", "export_not_found")}),
}
