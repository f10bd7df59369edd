"""Examples: training sets, trainings, and the models that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.examples.example import MASK_ID, TRAINING_ID, TRAINING_SET_ID, Codes, Example
from app.examples.jobs import EXPIRES, FILES, NANO, SIGNED, checked_example, file_example, job_example
from app.examples.problems import FIELDS, FORM, JOB_ADMISSION

_SET: dict[str, Any] = {
    "id": TRAINING_SET_ID,
    "layout": "pairs",
    "pairs": 480,
    "refused_pairs": 0,
    "categories": [{"id": 4, "name": "road", "pairs": 311, "pixels": 2279441, "share": 0.0618}],
    "warnings": [
        "few_pairs: water is in 3 of 480 pairs only: it will seldom find a partner, and hardly be learned"
    ],
}
_CREATED = _SET | {"refused": [], "ignored": [".DS_Store"]}
_SHA256 = "46a6bb4ad83ccecb193faa702433c77485ee76e42c61ddccbee43fd9b98265be"
_PREVIEW: dict[str, Any] = {
    "pairs": 1,
    "sheet": {"url": f"{FILES.removesuffix('jobs/')}training-previews/{_SHA256}.png{SIGNED}", **EXPIRES}
    | {"link": f"/v1/files/training-previews/{_SHA256}.png", "sha256": _SHA256},
    "composed": [
        {
            "step": 0,
            "first": "images/3.jpg",
            "second": "images/0.png",
            "category": "building",
            "overlap": 0.0,
            "distance": 8.0327,
            "score": 2.2395,
        }
    ],
}
_RECIPE: dict[str, Any] = {
    "resolution": 256,
    "steps": 2000,
    "batch_size": 16,
    "learning_rate": 0.0002,
    "trained": "controlnet",
    "mixed_precision": "auto",
    "cf_comp": {"probability": 0.5, "cross_class": False, "max_overlap": 0.3, "min_visible": 0.7},
    "validation": {"every": 500, "pictures": 4, "mask_ids": [MASK_ID], "prompts": [], "seed": 5},
    "seed": 3,
}
_REQUEST = {
    "kind": "training",
    "training_set_id": TRAINING_SET_ID,
    "base_model": "nano@2",
    "name": "farmland",
    "version": "1",
    "pairs": 480,
    "recipe": _RECIPE,
    "resume_from": None,
}
_FARMLAND: dict[str, Any] = {
    "name": "farmland",
    "version": "1",
    "sha256": "92f7e1592e5694ca9977c064ea565c6bf1dd97b980b23a659d93f6c20f2590b4",
}
_UNTRAINED = _FARMLAND | {"sha256": None}
_LOSSES: dict[str, Any] = {"loss_global": 0.4598, "loss_local": 0.4598}
_IOU: dict[str, Any] = {"agreement": 0.5037, "iou": {"bare land": 0.905, "road": 0.3856, "building": 0.2204}}
_PROGRESS: dict[str, Any] = {
    "done": 0,
    "total": 2000,
    "unit": "steps",
    "step": 0,
    "steps": 0,
    "eta_seconds": None,
    "metrics": {},
}
_TRAINED = _PROGRESS | {
    "done": 2000,
    "step": 2000,
    "steps": 2000,
    "metrics": _LOSSES | {"learning_rate": 0.0002, "images_per_second": 38.9},
}


def _training(status: str, progress: Mapping[str, Any]) -> dict[str, Any]:
    return job_example(
        TRAINING_ID,
        status,
        kind="training",
        request=_REQUEST,
        model=_FARMLAND if status == "succeeded" else _UNTRAINED,
        progress=dict(progress),
        counts=dict.fromkeys(job_example(TRAINING_ID)["counts"], 0),
    )


_TRAINING = _training("succeeded", _TRAINED) | {
    "history": [{"step": 2000, **_LOSSES, "learning_rate": 0.0002}],
    "validations": [
        {"step": 2000, "sheet": file_example(f"{TRAINING_ID}/validations/00002000-c67d9bdc5381.png")}
        | {"sha256": "c67d9bdc5381e1b796cceeb075ad9fc817475c65eae4a8f0892d91948fdb4f1c"}
        | _IOU
    ],
    "tensorboard": [file_example(f"{TRAINING_ID}/tensorboard/attempt-1/events.out.tfevents.1795721584")],
    "result": {"model": _FARMLAND, "steps": 2000, "resumed_from": 0} | _LOSSES | _IOU,
}
_MODEL: dict[str, Any] = {
    "name": "farmland",
    "version": "1",
    "title": "farmland: nano@2 trained on with CF-Comp",
    "licence": "Apache-2.0",
    "sha256": _FARMLAND["sha256"],
    "source": "registry",
    "current": True,
    "default": False,
    "created_at": "2026-11-26T19:33:17.975000Z",
    "base": "nano@2",
    "training_id": TRAINING_ID,
    "categories": ["bare land", "road", "tree", "water", "building"],
    "width": 256,
    "height": 256,
    "max_side": 512,
    "size_multiple": 8,
    "defaults": {
        "num_inference_steps": 10,
        "guidance_scale": 3.0,
        "controlnet_conditioning_scale": 1.0,
        "scheduler": "unipc",
        "negative_prompt": "",
    },
}
_SHIPPED = (
    _MODEL
    | NANO
    | {
        "title": "Nano: EarthSynth's method at toy size, for trying the service on a CPU",
        "source": "shipped",
        "default": True,
        "created_at": None,
        "base": None,
        "training_id": None,
    }
)
_DETAIL = _MODEL | {
    "recipe": _RECIPE,
    "data": {
        "training_set_id": TRAINING_SET_ID,
        "pairs": 480,
        "refused": 0,
        "categories": _SET["categories"],
    },
    "metrics": {"steps": 2000, **_LOSSES, "mask_agreement": _IOU["agreement"], "iou": _IOU["iou"]},
    "files": {
        "controlnet/diffusion_pytorch_model.safetensors": {
            "sha256": "aa6a0c7e05d1b7f0cba958d7a770b1f9556e67cf092ae370f64197c94fbbaaa6",
            "bytes": 9536448,
        }
    },
}
_NAMED: Codes = {404: ("unknown_model",)}
_SHARD: Codes = {404: ("training_set_not_found", "object_gone"), 409: ("object_changed",)}
_FOUND: Codes = {404: ("training_not_found",)}
_BACK: Codes = _NAMED | {409: ("nothing_to_roll_back", "model_shipped")}

EXAMPLES: Mapping[str, Example] = {
    "create_training_set": Example(
        {201: _CREATED, 200: _CREATED},
        bodies={"pairs, or WebDataset shards, under the import prefix": {"prefix": "imports/pairs/2026/"}},
        form={"file": "@pairs.zip", "max_bad_share": 0.1},
        codes={
            400: ("malformed_json", "malformed_request", "too_many_parts"),
            404: ("object_gone",),
            409: ("object_changed",),
            422: (
                *("pairs_missing", "no_pairs", "too_many_bad_pairs", "mixed_layouts", "empty_archive"),
                *("overlapping_entries", "unsafe_name", "archive_too_large", *FIELDS, *FORM),
            ),
        },
    ),
    "get_training_set": Example(
        {200: _SET}, path={"set_id": TRAINING_SET_ID}, codes={404: ("training_set_not_found",)}
    ),
    "preview_composition": Example(
        {200: _PREVIEW},
        bodies={"one composed pair": {"training_set_id": TRAINING_SET_ID, "resolution": 256, "count": 1}},
        codes=_SHARD | {422: ("no_partners", "unknown_model", "unsupported_size", *FIELDS)},
    ),
    "create_training": Example(
        {
            202: _training("queued", _PROGRESS),
            200: checked_example("training", _REQUEST, model=_UNTRAINED, images=0, seconds=840.0),
        },
        bodies={
            "a recipe, of which whatever is not said suits the base": {
                "training_set_id": TRAINING_SET_ID,
                "base_model": "nano",
                "name": "farmland",
                "resolution": 256,
                "steps": 2000,
                "validation": {"every": 500, "mask_ids": [MASK_ID], "seed": 5},
                "seed": 3,
            }
        },
        codes={
            404: ("training_set_not_found", "training_not_found", "mask_not_found"),
            409: ("model_name_in_use", "training_not_ended"),
            429: JOB_ADMISSION,
            422: (
                *("unknown_model", "invalid_model_name", "unsupported_size", "resume_mismatch"),
                *FIELDS,
            ),
        },
    ),
    "get_training": Example({200: _TRAINING}, codes=_FOUND),
    "get_training_validation": Example(
        {307: None},
        codes={404: ("training_not_found", "validation_not_found"), 422: ("out_of_range", "invalid_request")},
    ),
    "list_models": Example({200: {"items": [_SHIPPED, _MODEL], "next_cursor": None}}),
    "get_model": Example({200: _DETAIL}, codes=_NAMED),
    "set_default_model": Example({200: _MODEL | {"default": True}}, codes=_NAMED),
    "rollback_default_model": Example({200: _SHIPPED}, codes={409: ("nothing_to_roll_back",)}),
    "promote_model": Example(
        {200: _MODEL},
        bodies={"the name alone means version 1 from now on": {"version": "1"}},
        codes=_NAMED | {409: ("model_shipped",), 422: ("unknown_model", *FIELDS)},
    ),
    "rollback_model": Example({200: _MODEL}, codes=_BACK),
}
