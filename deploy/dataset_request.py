"""What `earthsynth dataset create` sends: masks from a zip, a folder, a set or imports, and the request's body."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.dataset_client import Service
from deploy.exit_codes import wrong_usage
from deploy.uploads import as_zip, check_body, upload_bar
from worker.dataset_specs import DatasetRequest
from worker.mask_set_sources import MaskSetRequest

_SET_ID = re.compile(r"mset_[0-9a-f]{64}")
_PREFIX = "prefix:"
_SHOWN_REFUSALS = 20


def named_numbers(pairs: Sequence[str], number: type[int] | type[float], option: str) -> dict[str, float]:
    """`["storage tank=200"]` as {"storage tank": 200}. Raises Unsuccessful (USAGE)."""
    found: dict[str, float] = {}
    for pair in pairs:
        name, _, text = pair.rpartition("=")
        if not name or name in found:
            raise wrong_usage(f"{option} {pair!r}: write it as NAME=NUMBER, each name once")
        try:
            found[name] = number(text)
        except ValueError as error:
            raise wrong_usage(f"{option} {pair!r}: {text!r} is no number of its kind") from error
    return found


def dataset_body(
    spec: Mapping[str, Any], options: Mapping[str, Any], *, masks_follow: bool
) -> dict[str, Any]:
    """The body of POST /v1/datasets: `options` laid over `spec`, objects in it field by field.

    Raises Unsuccessful (USAGE) for what the service would refuse only after the masks have been uploaded.
    """
    body = dict(spec)
    if "samples_per_mask" in options:
        body.pop("goal", None)
    elif "accepted_per_category" in options.get("goal", {}):
        body.pop("samples_per_mask", None)
    for name, value in options.items():
        before = body.get(name)
        body[name] = before | value if isinstance(value, dict) and isinstance(before, dict) else value
    if masks_follow:
        body["masks"] = {"mask_set_id": "mset_"}
    check_body(DatasetRequest, body)
    return body


def mask_set_of(service: Service, console: Console, masks: str, reading: Mapping[str, Any]) -> str:
    """The id of the set that `masks` stands for: uploaded, imported, or a known one.

    `reading`: how the files are to be read; only what was given. Raises Unsuccessful.
    """
    if _SET_ID.fullmatch(masks):
        if reading:
            raise wrong_usage(f"{', '.join(reading)}: a set that exists is not read again; give its files")
        return masks
    if masks.startswith(_PREFIX):
        asked = dict(reading) | {"prefix": masks.removeprefix(_PREFIX).rstrip("/") + "/"}
        check_body(MaskSetRequest, asked)
        return _told(console, service.keep_mask_set(**asked))
    check_body(MaskSetRequest, reading)
    path = Path(masks)
    if not path.exists():
        raise wrong_usage(f"--masks {masks}: no such file or folder, and neither mset_… nor prefix:imports/…")
    with as_zip(path, console, "--masks") as archive, upload_bar(console, path.name, archive) as file:
        kept = service.keep_mask_set(file, **reading)
    return _told(console, kept)


def _told(console: Console, kept: Mapping[str, Any]) -> str:
    """The set's id; what is in it and what is not goes to stderr."""
    refused, ignored = kept["refused"], kept["ignored"]
    lines = [
        f"mask set {kept['id']}: {kept['masks']} masks from {kept['files']} files",
        *(f"refused {line['name']}: {line['code']}: {line['message']}" for line in refused[:_SHOWN_REFUSALS]),
    ]
    if len(refused) > _SHOWN_REFUSALS:
        lines.append(f"… and {len(refused) - _SHOWN_REFUSALS} more refused files")
    if ignored:
        lines.append(f"ignored {len(ignored)} files that an operating system left")
    lines += [f"warning: {warning}" for warning in kept["warnings"]]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return str(kept["id"])
