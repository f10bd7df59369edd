"""What `earthsynth training-set create` sends, and what people read of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.dataset_client import Service
from deploy.exit_codes import wrong_usage
from deploy.uploads import as_zip, check_body, upload_bar
from models.cfcomp.pair_files import PairFiles, list_pairs
from models.cfcomp.train_jsonl import FILE_NAME
from worker.training_set_sources import TrainingSetRequest

_SHOWN_REFUSALS = 20
_ROOMS = ("images", "masks")


def keep_training_set(
    service: Service, console: Console, pairs: Path | str, reading: Mapping[str, Any]
) -> dict[str, Any]:
    """The service's answer for a folder or a zip, or for the objects under a prefix (a str).

    `reading`: how masks are to be read; only what was given. Raises Unsuccessful.
    """
    if isinstance(pairs, str):
        asked = dict(reading) | {"prefix": pairs.rstrip("/") + "/"}
        check_body(TrainingSetRequest, asked)
        return service.keep_training_set(**asked)
    check_body(TrainingSetRequest, reading)
    wanted = belongs(pairs) if pairs.is_dir() else lambda _: True
    with (
        as_zip(pairs, console, "FOLDER", wanted) as archive,
        upload_bar(console, pairs.name, archive) as file,
    ):
        return service.keep_training_set(file, **reading)


def belongs(folder: Path) -> Callable[[Path], bool]:
    """Whether a file of the folder, relative to it, belongs to its pairs: single-category masks stay behind."""
    if not any((folder / name).exists() for name in (*_ROOMS, FILE_NAME)):
        raise wrong_usage(f"{folder}: there is neither images/ nor masks/ in this folder")
    named = {Path(FILE_NAME)}
    for found in list_pairs(folder):
        if isinstance(found, PairFiles):
            named |= {found.picture, found.mask}
    return lambda path: path in named or path.parts[0] in _ROOMS


def report_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The set in words; of an upload also what is not in it."""
    yield f"training set {found['id']}: {found['pairs']} pairs, kept as {found['layout']}"
    refused, ignored = found.get("refused", ()), found.get("ignored", ())
    for line in refused[:_SHOWN_REFUSALS]:
        yield f"left out {line['name']}: {line['message']} [{line['code']}]"
    if len(refused) > _SHOWN_REFUSALS:
        yield f"… and {len(refused) - _SHOWN_REFUSALS} more that were left out"
    if ignored:
        yield f"ignored {len(ignored)} files that are in no pair"
    for one in found["categories"]:
        yield f"{one['name']}: in {one['pairs']} of {found['pairs']} pairs, {one['share']:.1%} of the pixels"
    for warning in found["warnings"]:
        yield f"warning: {warning}"
