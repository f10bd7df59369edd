"""Examples: POST /v1/generations."""

from __future__ import annotations

from collections.abc import Mapping

from app.examples.example import JOB_ID, MASK_ID, Example
from app.examples.jobs import job_example, sample_example
from app.examples.problems import DRAWING, FIELDS, FORM, JOB_ADMISSION, MASK_FILE_CODES, PAINTING, RENDERING

EXAMPLES: Mapping[str, Example] = {
    "create_generation": Example(
        {
            200: job_example(JOB_ID) | {"samples": [sample_example()]},
            202: job_example(JOB_ID, "queued"),
        },
        bodies={
            "a stored mask, and words for the prompt": {
                "mask_id": MASK_ID,
                "categories": ["road", "building"],
                "num_images": 1,
                "seed": 7,
            },
            "every picture that is made, with more steps": {
                "mask_id": MASK_ID,
                "prompt": "A satellite image of a village in spring",
                "num_images": 4,
                "num_inference_steps": 30,
                "filter": {"policy": "off"},
                "custom_id": "village-7",
                "metadata": {"project": "spring"},
                "webhook": {"url": "https://hooks.example.org/earthsynth", "events": ["job.succeeded"]},
            },
            "what it would be, without making it": {"mask_id": MASK_ID, "validate_only": True},
        },
        form={"mask": "@mask.png", "categories": ["road", "building"], "num_images": 1, "seed": 7},
        query={"wait": 60},
        codes={
            400: ("malformed_json", "malformed_request", "too_many_parts"),
            404: ("mask_not_found",),
            429: JOB_ADMISSION,
            415: ("unsupported_media_type", "unsupported_content_encoding", "unsupported_format"),
            422: (
                *("mask_missing", "mask_and_mask_id", "prompt_and_categories", "category_not_in_mask"),
                *("wrong_size", "url_not_allowed", "credentials_in_url", "invalid_base64"),
                *(*RENDERING, *DRAWING, *PAINTING, *FIELDS, *FORM, *MASK_FILE_CODES),
            ),
        },
    )
}
