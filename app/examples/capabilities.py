"""Examples: what the service takes and makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.examples.example import Example

_LIMITS: dict[str, Any] = {
    "json_bytes": 8388608,
    "upload_bytes": 33554432,
    "archive_bytes": 536870912,
    "archive_entries": 10000,
    "body_seconds": 30.0,
    "body_bytes_per_second": 16384,
    "mask_side_pixels": 4096,
    "polygons": 20000,
    "polygon_points": 1000000,
    "instances_per_mask": 10000,
    "tiles_per_generation": 64,
    "requests_at_once": 16,
    "masks_per_set": 100000,
    "mask_ids_per_dataset": 1000,
    "images_per_generation": 16,
    "samples_per_mask": 1000,
    "samples_per_dataset": 1000000,
    "tries_per_sample": 16,
    "prompt_characters": 500,
    "num_inference_steps": 100,
    "seed": 4294967295,
    "queued_jobs": 10000,
    "queued_jobs_per_tenant": 1000,
    "concurrent_jobs_per_tenant": None,
    "rates": [],
    "wait_seconds": 60.0,
    "page_items": 200,
    "url_seconds": 3600,
    "retention_seconds": 2592000,
}
_CAPABILITIES: dict[str, Any] = {
    "version": "0.1.0",
    "api_version": "1",
    "limits": _LIMITS,
    "masks": {
        "formats": ["png", "tiff", "npy"],
        "encodings": ["auto", "class_id", "palette", "color", "binary", "instance", "polygons"],
        "ontologies": ["earthsynth", "openearthmap", "loveda", "deepglobe", "flair"],
        "size_policies": ["resize", "pad", "reject"],
    },
    "exports": ["coco", "yolo-detect", "semantic", "webdataset", "hf"],
    "schedulers": ["unipc", "ddim", "dpmpp", "euler", "pndm"],
    "filter": {"policies": ["off", "balanced", "strict"], "rules": ["technical", "mask_agreement"]},
    "models": {"shipped": ["nano"], "default": "nano"},
    "features": {
        "auth_required": True,
        "datasets": True,
        "trainings": True,
        "inpainting": False,
        "events": True,
        "webhooks": True,
        "usage": True,
        "ogc_processes": True,
    },
}

EXAMPLES: Mapping[str, Example] = {"get_capabilities": Example({200: _CAPABILITIES})}
