"""An example of every problem that an operation names, by its stable code; docs/errors.md says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.examples.example import DATASET_ID, JOB_ID, MASK_ID, TRAINING_ID
from app.problems import problem
from models.errors import FieldError


@dataclass(frozen=True, slots=True)
class ProblemExample:
    """`pointer`: the one wrong field that the problem names, with the detail as its message.

    `path`: where the code is answered with 404, since what is wrong is named there and not in a body.
    """

    status: int
    detail: str
    instance: str
    pointer: str | None = None
    retryable: bool = False
    path: str | None = None

    @property
    def statuses(self) -> tuple[int, ...]:
        return (self.status,) if self.path is None else (self.status, 404)


_Row = ProblemExample
_MASKS, _SETS, _JOB = "/v1/masks", "/v1/mask-sets", f"/v1/jobs/{JOB_ID}"
_HOOKS = "/v1/webhooks"
_OGC = f"/ogc/jobs/{JOB_ID}"
_GENERATIONS, _DATASETS, _DATASET = "/v1/generations", "/v1/datasets", f"/v1/datasets/{DATASET_ID}"
_TRAININGS, _PAIRS, _MODEL = "/v1/trainings", "/v1/training-sets", "/v1/models/farmland"

FIELDS = (
    *("unknown_field", "repeated_field", "missing_field", "missing_body"),
    *("out_of_range", "invalid_request", "invalid_text"),
)
FORM = ("file_expected", "unexpected_file", "too_many_files", "unsupported_encoding")
LIST = ("unknown_field", "repeated_field", "out_of_range", "invalid_cursor")
JOB_ADMISSION = ("queue_full", "tenant_queue_full", "too_many_jobs", "rate_limited", "overloaded")
MASK_FILE_CODES = (
    *("damaged_file", "lossy_mask", "unknown_label", "unknown_colours", "ambiguous_encoding"),
    *("not_a_label_mask", "too_many_pixels"),
)
DRAWING = ("invalid_polygon", "polygon_outside_mask", "unknown_crs")
PAINTING = ("init_image_missing", "not_an_rgb_picture", "nothing_to_paint", "strength_too_small")
RENDERING = (
    "unknown_model",
    "unknown_category",
    "category_not_in_model",
    "unsupported_size",
    "too_many_tiles",
)

USUAL: Mapping[int, tuple[str, ...]] = {
    400: ("malformed_json",),
    401: ("missing_key", "invalid_key"),
    403: ("missing_scope",),
    404: ("not_found",),
    410: ("job_deleted", "job_expired"),
    408: ("request_timeout",),
    413: ("too_large",),
    414: ("uri_too_long",),
    415: ("unsupported_media_type", "unsupported_content_encoding"),
    422: ("unknown_field", "repeated_field"),
    429: ("rate_limited", "overloaded"),
    500: ("model_manifest_damaged",),
    503: ("store_unavailable", "storage_unavailable"),
}
"""The codes behind a status, for operations whose example does not name others."""

REPEATED: Mapping[int, tuple[str, ...]] = {
    400: ("invalid_idempotency_key",),
    409: ("idempotency_in_progress",),
    422: ("idempotency_key_reused",),
}
"""The codes that every operation has besides, that takes an Idempotency-Key."""

PROBLEMS: Mapping[str, ProblemExample] = {
    "malformed_json": _Row(
        400, "The body is not valid JSON: EOF while parsing a value at line 1 column 1", _GENERATIONS
    ),
    "malformed_request": _Row(400, "There was an error parsing the body", _MASKS),
    "uri_too_long": _Row(414, "The path and query are longer than 8192 bytes.", "/v1/jobs"),
    "missing_body": _Row(422, "Send a JSON object.", _TRAININGS),
    "request_timeout": _Row(408, "The body stopped coming. Send the request again.", _MASKS, retryable=True),
    "unsupported_encoding": _Row(
        422, "The part mask has a Content-Transfer-Encoding; send it as it is.", _GENERATIONS
    ),
    "too_many_parts": _Row(400, "The form has more than 100 fields.", _GENERATIONS),
    "unsupported_content_encoding": _Row(415, "Send the body without Content-Encoding.", _GENERATIONS),
    "rate_limited": _Row(
        429,
        "This key may make 100 requests in 1 second. Try again after Retry-After seconds.",
        _JOB,
        retryable=True,
    ),
    "overloaded": _Row(429, "More requests came than can wait. Try again.", _JOB, retryable=True),
    "tenant_queue_full": _Row(
        429,
        "10000 of your jobs are waiting already. Wait until some have begun.",
        _GENERATIONS,
        retryable=True,
    ),
    "too_many_jobs": _Row(
        429, "8 of your jobs are queued or running, as many as there may be.", _GENERATIONS, retryable=True
    ),
    "missing_key": _Row(401, "Send your API key as `Authorization: Bearer es_…`.", "/v1/jobs"),
    "invalid_key": _Row(401, "The API key is wrong, expired or revoked.", "/v1/jobs"),
    "missing_scope": _Row(403, "This needs a key with the scope write; yours has read.", _GENERATIONS),
    "invalid_idempotency_key": _Row(
        400, "Send one Idempotency-Key of 1 to 255 visible ASCII characters.", _GENERATIONS
    ),
    "idempotency_in_progress": _Row(
        409,
        "A request with this key is being worked on. Send it again in a moment.",
        _GENERATIONS,
        retryable=True,
    ),
    "idempotency_key_reused": _Row(
        422, "This key began another request: send a key of its own with each request.", _GENERATIONS
    ),
    "job_deleted": _Row(410, "The job was deleted.", _JOB),
    "job_expired": _Row(410, "The job has expired, and its files with it.", _JOB),
    "job_not_ended": _Row(409, "The job is running; it can be retried when it has ended.", f"{_JOB}/retry"),
    "nothing_to_retry": _Row(409, "The job delivered all that it was asked for.", f"{_JOB}/retry"),
    "mask_in_use": _Row(
        409, f"The job {JOB_ID} needs the mask: wait until it has ended, or cancel it.", f"{_MASKS}/{MASK_ID}"
    ),
    "invalid_period": _Row(
        422, "must be at most `to`, and less than 366 days before it", "/v1/usage", "/from"
    ),
    "file_not_found": _Row(404, "There is no such file.", "/v1/files/masks/8b71.png"),
    "not_found": _Row(404, "Not Found", "/v1/nothing"),
    "too_large": _Row(413, "The body is larger than 33554432 bytes, the limit of this service.", _MASKS),
    "unsupported_media_type": _Row(
        415, "Send the body as application/json or multipart/form-data.", _GENERATIONS
    ),
    "unsupported_format": _Row(415, "This is a JPEG file; send the mask as PNG, TIFF or NPY.", _MASKS),
    "unknown_field": _Row(422, "Extra inputs are not permitted", _GENERATIONS, "/num_image"),
    "missing_field": _Row(422, "Field required", _TRAININGS, "/name"),
    "out_of_range": _Row(422, "Input should be less than or equal to 16", _GENERATIONS, "/num_images"),
    "invalid_request": _Row(422, "Input should be a valid integer", _GENERATIONS, "/seed"),
    "invalid_text": _Row(
        422, "must not contain control characters or lone surrogates", _GENERATIONS, "/prompt"
    ),
    "invalid_base64": _Row(
        422, "must be standard base64 with padding, without a data: prefix", _GENERATIONS, "/mask"
    ),
    "invalid_cursor": _Row(422, "The cursor is not one that this service gave.", "/v1/jobs"),
    "repeated_field": _Row(422, "The form field seed is there 2 times.", _GENERATIONS),
    "file_expected": _Row(
        422, "The form field mask must be a file part (with curl: -F mask=@FILE).", _GENERATIONS, "/mask"
    ),
    "unexpected_file": _Row(422, "Only mask is a file part here.", _GENERATIONS),
    "too_many_files": _Row(422, "Send one mask, not 2.", _GENERATIONS),
    "queue_full": _Row(429, "1000 jobs are waiting already. Try again later.", _GENERATIONS, retryable=True),
    "store_unavailable": _Row(503, "Redis does not answer. Try again.", _JOB, retryable=True),
    "storage_unavailable": _Row(503, "The storage does not answer. Try again.", _JOB, retryable=True),
    "object_damaged": _Row(
        503,
        "Object acme/masks/8b71…png has sha256 51f0…, not 8b71… as recorded.",
        f"{_MASKS}/{MASK_ID}/preview",
        retryable=True,
    ),
    "not_ready": _Row(503, "Down: redis.", "/readyz", "/redis", retryable=True),
    # masks
    "mask_missing": _Row(422, "Send exactly one of mask and mask_id.", _GENERATIONS, "/mask"),
    "mask_and_mask_id": _Row(422, "Send exactly one of mask and mask_id, not both.", _GENERATIONS, "/mask"),
    "mask_not_found": _Row(404, "There is no such mask.", f"{_MASKS}/{MASK_ID}"),
    "damaged_file": _Row(
        422, "The file is damaged: its last chunk is cut off. Export the mask again.", _MASKS
    ),
    "lossy_mask": _Row(
        422, "The TIFF is compressed with JPEG, which changes ids. Export without it.", _MASKS
    ),
    "unknown_label": _Row(
        422,
        "Pixel (0, 0) is 81, which is no class of EarthSynth's own 67 categories (it knows 0 to 66). Unknown in all: "
        "81, 84, 88. Remap them, or send the right ontology or a label_map.",
        _MASKS,
    ),
    "unknown_colours": _Row(
        422,
        "Pixel (12, 40) is #a9713f, which is in no colour map: smoothed edges, or a missing entry.",
        _MASKS,
    ),
    "ambiguous_encoding": _Row(
        422, "This may be class ids or a binary mask; say encoding=class_id or encoding=binary.", _MASKS
    ),
    "not_a_label_mask": _Row(422, "The picture's channels differ: this is a photograph, not a mask.", _MASKS),
    "too_many_pixels": _Row(422, "The mask is 20000 x 20000 pixels; each side may have 8192.", _MASKS),
    "mask_set_not_found": _Row(404, "There is no such mask set.", _SETS),
    "masks_refused": _Row(
        422,
        "1 of 3 files cannot be used; the first is broken.png: The file is damaged: its PNG signature is incomplete. "
        "Correct them, or send partial=true to leave them out.",
        _SETS,
    ),
    "empty_archive": _Row(422, "The archive has no entries; send a zip.", _SETS),
    "overlapping_entries": _Row(
        422, "Two entries of the archive share bytes. Pack it again, as a plain zip.", _SETS
    ),
    "unsafe_name": _Row(422, "The entry ../a.png leaves its folder. Use plain relative names.", _SETS),
    "archive_too_large": _Row(422, "Its files are larger than the limit together. Send it in parts.", _SETS),
    # generations and data sets
    "prompt_and_categories": _Row(422, "Send prompt or categories, not both.", _GENERATIONS, "/prompt"),
    "unknown_category": _Row(
        422, "There is no category 'rode'. Did you mean road?", _GENERATIONS, "/categories/0"
    ),
    "category_not_in_mask": _Row(
        422, "The mask shows no water; leave it out, or send on_mismatch=warn.", _GENERATIONS, "/categories"
    ),
    "category_not_in_model": _Row(
        422,
        "Model nano was not trained on ship. It knows: bare land, road, tree, water, building.",
        _GENERATIONS,
    ),
    "unknown_model": _Row(
        422,
        "There is no model huge; there are nano@2, farmland@1.",
        _GENERATIONS,
        "/model",
        path="/v1/models/huge",
    ),
    "unsupported_size": _Row(
        422,
        "Model nano cannot make 1024 x 1024 pictures: each side must be a multiple of 8 and at most 512; its native "
        "size is 256 x 256.",
        _GENERATIONS,
    ),
    "wrong_size": _Row(
        422,
        "The mask is 300 x 200 and the picture 256 x 256. Send a mask of that size, ask for another width and "
        "height, or another size_policy.",
        _GENERATIONS,
    ),
    "too_many_tiles": _Row(
        422, "4 pictures of 40 tiles are 160 tiles, and 64 are made: ask for fewer pictures.", _GENERATIONS
    ),
    "not_an_rgb_picture": _Row(422, "must be 8-bit RGB without transparency", _GENERATIONS, "/init_image"),
    "nothing_to_paint": _Row(
        422, "The mask has no pixel of road, so that nothing would change.", _GENERATIONS
    ),
    "init_image_missing": _Row(422, "belongs to an init_image, and there is none", _GENERATIONS, "/strength"),
    "strength_too_small": _Row(
        422, "times num_inference_steps must be one step or more", _GENERATIONS, "/strength"
    ),
    "dataset_not_found": _Row(404, "There is no such data set.", _DATASET),
    "goal_unreachable": _Row(
        422,
        "No mask of the set shows ship on 1 % of its pixels; it shows bare land, road.",
        _DATASETS,
        "/goal",
    ),
    "too_many_samples": _Row(
        422, "5000 masks of 100 samples are more than 100000.", _DATASETS, "/samples_per_mask"
    ),
    "invalid_split": _Row(422, "At least one split needs a ratio above 0.", _DATASETS, "/splits"),
    "dataset_not_ready": _Row(
        409,
        "The data set is running; it can be exported when it has ended with samples.",
        f"{_DATASET}/exports",
    ),
    "dataset_empty": _Row(
        409, "No sample was accepted, so there is nothing to export.", f"{_DATASET}/exports"
    ),
    "refilter_conflict": _Row(
        409, "Another refiltering of this data set came first. Try again.", f"{_DATASET}/refilter"
    ),
    "export_not_found": _Row(404, "There is no such export.", f"{_DATASET}/exports"),
    # jobs
    "job_not_found": _Row(404, "There is no such job.", _JOB),
    "job_ended": _Row(409, "The job has succeeded already.", f"{_JOB}/cancel"),
    "out_of_memory": _Row(500, "The picture does not fit into the device's memory.", f"{_OGC}/results"),
    "worker_lost": _Row(500, "The worker died in each of 3 attempts.", f"{_OGC}/results"),
    "model_unavailable": _Row(500, "The weights of nano@2 are not there.", f"{_OGC}/results"),
    "no_such_process": _Row(404, "There is no such process; there is earthsynth.", "/ogc/processes/buffer"),
    "no_such_job": _Row(404, "There is no such job.", _OGC),
    "result_not_ready": _Row(404, "The job is running: it has no results yet.", f"{_OGC}/results"),
    "job_dismissed": _Row(404, "The job was dismissed: it has no results.", f"{_OGC}/results"),
    "mask_not_ours": _Row(
        422,
        "must link to a mask of this service, /v1/masks/msk_…: no other address is read; or be in base64",
        "/ogc/processes/earthsynth/execution",
        "/inputs/mask",
    ),
    # webhooks
    "webhook_not_found": _Row(404, "There is no such webhook endpoint.", _HOOKS),
    "delivery_not_found": _Row(404, "There is no such delivery.", f"{_JOB}/deliveries"),
    "url_not_allowed": _Row(422, "the host is an address that is not public", _HOOKS, "/url"),
    "credentials_in_url": _Row(422, "must not hold a user name or a password", _HOOKS, "/url"),
    "too_many_webhooks": _Row(409, "100 endpoints hear of every job, as many as there may be.", _HOOKS),
    "webhook_deleted": _Row(
        409, "Its endpoint was deleted; register the URL again first.", f"{_JOB}/deliveries"
    ),
    "webhook_disabled": _Row(
        409, "Its endpoint is disabled: it answered 410. Enable it first.", f"{_JOB}/deliveries"
    ),
    "file_and_polygons": _Row(422, "send a file or polygons, not both", _MASKS, "/polygons"),
    "invalid_polygon": _Row(422, "a ring has at least three points", _MASKS, "/polygons/0/points"),
    "polygon_outside_mask": _Row(422, "lies outside the mask of 256 x 256 pixels", _MASKS, "/polygons/0"),
    "invalid_instances": _Row(422, "names no category", _MASKS, "/instances/1"),
    "unknown_instance": _Row(422, "Pixel (3, 9) is 4, which is not in instances.", _MASKS),
    "unknown_crs": _Row(422, "EPSG:1 is no geographic or projected CRS.", _MASKS, "/crs"),
    # trainings and models
    "pairs_missing": _Row(
        422, "Send a zip as the file part `file`, or a prefix: exactly one.", _PAIRS, "/file"
    ),
    "no_pairs": _Row(
        422,
        "There is no good pair of a picture and its mask, and 0 bad ones. Put pictures into images/ and masks of the "
        "same names into masks/.",
        _PAIRS,
    ),
    "too_many_bad_pairs": _Row(
        422, "30 of 100 pairs are bad, more than 10%: mend them, or allow a larger share.", _PAIRS
    ),
    "mixed_layouts": _Row(
        422, "There are tar files and images/ under the prefix; take one of the two.", _PAIRS
    ),
    "object_gone": _Row(
        404,
        "The shard imports/train-000000.tar was deleted; make the training set again.",
        f"{_TRAININGS}/preview",
    ),
    "object_changed": _Row(
        409,
        "Object imports/train-000000.tar is no longer the one that was looked at.",
        f"{_TRAININGS}/preview",
    ),
    "training_set_not_found": _Row(404, "There is no such training set.", _TRAININGS),
    "training_not_found": _Row(404, "There is no such training.", f"{_TRAININGS}/{TRAINING_ID}"),
    "validation_not_found": _Row(
        404, "There is no validation of that step.", f"{_TRAININGS}/{TRAINING_ID}/validations/3"
    ),
    "training_not_ended": _Row(409, f"The training {TRAINING_ID} is running; cancel it first.", _TRAININGS),
    "resume_mismatch": _Row(
        422, "A training goes on with what it began with: resolution must be that of the first.", _TRAININGS
    ),
    "no_partners": _Row(
        422,
        "No two samples could exchange objects. Allow more overlap, take cross_class, or add pairs that share a "
        "category.",
        f"{_TRAININGS}/preview",
    ),
    "invalid_model_name": _Row(
        422,
        "must be lower-case letters, digits and hyphens, at most 60, and not begin with a hyphen",
        _TRAININGS,
        "/name",
    ),
    "model_name_in_use": _Row(
        409,
        "There is a model farmland already: choose another name, or say new_version to make farmland@2.",
        _TRAININGS,
        "/name",
    ),
    "model_shipped": _Row(
        409,
        "nano ships with this release and has one version; only versions that were trained can be promoted and "
        "rolled back.",
        "/v1/models/nano/promote",
    ),
    "nothing_to_roll_back": _Row(
        409, "There is nothing to roll back: it has always meant what it means now.", f"{_MODEL}/rollback"
    ),
    "model_manifest_damaged": _Row(
        500, "The manifest of model farmland@1 is damaged: it is another model's.", _MODEL
    ),
}


def problem_example(code: str, status: int) -> tuple[str, dict[str, Any]]:
    """Under what name `components.examples` has the code with that status, and the example."""
    row = PROBLEMS[code]
    if status != row.status:
        row = replace(row, status=status, instance=row.path or row.instance, pointer=None)
    fields = () if row.pointer is None else (FieldError(row.pointer, row.detail),)
    detail = row.detail if row.pointer is None else f"{row.pointer}: {row.detail}"
    value = problem(
        row.status, code, detail, fields=fields, retryable=row.retryable, instance=row.instance
    ).model_copy(update={"request_id": "615494ab20634cf697a046de3b62c30a"})
    name = code if status == PROBLEMS[code].status else f"{code}_{status}"
    return name, {"summary": code, "value": value.model_dump()}
