"""The bodies of requests, from what the caller says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from earthsynth._pictures import Picture, base64_text
from earthsynth.errors import RequestError

LONGEST_WAIT_SECONDS = 60.0
"""What the service lets a request wait for its job."""


def server_wait(wait: bool | float) -> float:
    """How long the service itself is asked to wait; 0: not at all. Raises RequestError."""
    if wait is True:
        return LONGEST_WAIT_SECONDS
    if wait < 0:
        raise RequestError("wait must be 0 or more seconds")
    return min(float(wait), LONGEST_WAIT_SECONDS)


def generation_body(
    mask: Picture | None,
    mask_id: str | None,
    polygons: object,
    init_image: Picture | None,
    **fields: Any,
) -> dict[str, Any]:
    """The body of POST /v1/generations, JSON so that every type stays what it is.

    Raises RequestError: not exactly one of mask, mask_id and polygons.
    """
    given = [
        name
        for name, value in (("mask", mask), ("mask_id", mask_id), ("polygons", polygons))
        if value is not None
    ]
    if len(given) != 1:
        raise RequestError(
            f"give exactly one of mask, mask_id and polygons, not {' and '.join(given) or 'none'}"
        )
    said = rendering_fields(fields) | {"mask_id": mask_id}
    if mask is not None:
        said["mask"] = base64_text(mask)
    if init_image is not None:
        said["init_image"] = base64_text(init_image)
    return said


def rendering_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with a policy's name alone made the filter that it stands for, and tuples made lists."""
    said = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    if isinstance(said.get("filter"), str):
        said["filter"] = {"policy": said["filter"]}
    return said


def dataset_masks(mask_set: str | None, masks: Sequence[str] | None) -> dict[str, Any]:
    """The field `masks` of POST /v1/datasets. Raises RequestError: not exactly one of the two."""
    if (mask_set is None) == (masks is None):
        raise RequestError("give exactly one of mask_set and mask_ids")
    return {"mask_set_id": mask_set} if masks is None else {"mask_ids": list(masks)}


def formats_of(request: Mapping[str, Any]) -> list[str]:
    """The names of the formats that a data set was asked with."""
    formats = request.get("formats") or ()
    return [one if isinstance(one, str) else str(one["format"]) for one in formats]
