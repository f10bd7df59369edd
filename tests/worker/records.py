"""Job records for tests."""

from __future__ import annotations

from typing import Any

from models.errors import EarthSynthError, InvalidInput, UnknownCategory
from worker.jobs import Counts, Job, JobKind, ModelRef, Progress, new_job_id, now


def make_job(num_images: int = 2, **changes: Any) -> Job:
    """A queued generation of two pictures that asks for nothing real."""
    values: dict[str, Any] = {
        "id": new_job_id(),
        "tenant": "local",
        "kind": JobKind.GENERATION,
        "created_at": now(),
        "progress": Progress(total=num_images),
        "counts": Counts(requested=num_images, pending=num_images),
        "request": {},
        "model": ModelRef(name="nano", version="1", sha256=None),
    }
    return Job(**(values | changes))


WRONG_READINGS: list[tuple[dict[str, Any], type[EarthSynthError], str]] = [
    ({"ontology": "mars"}, UnknownCategory, "unknown_ontology"),
    ({"encoding": "binary"}, InvalidInput, "category_required"),
    ({"encoding": "binary", "category": "bilding"}, UnknownCategory, "unknown_category"),
    ({"label_map": {"x": "y"}}, InvalidInput, "invalid_label_map"),
]
"""How masks cannot be read, whatever files are sent: the option, the error and its code."""
