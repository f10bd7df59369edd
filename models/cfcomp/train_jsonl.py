"""EarthSynth's `train.jsonl`: one row for each pair of files, and one for each of its single-category masks.

A pair's row is `{"file_name", "mask_name", "text", "category_masks": [mask_name, …]}`. A single-category row has no
`category_masks`; it shows one category of a mask that another row lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FILE_NAME = "train.jsonl"
_MAX_NAME = 4096  # characters
_MAX_PARTS = 32  # folders deep that a name is looked for


class Row(BaseModel):
    """One line. Names are paths; other fields that people add are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file_name: str
    mask_name: str
    text: str = Field(max_length=2000)
    category_masks: tuple[str, ...] | None = None


@dataclass(slots=True)
class Index:
    """The rows of a file: `pairs` in its order, each once, and the numbers (from 1) of lines that are no row."""

    pairs: list[Row] = field(default_factory=list)
    bad_lines: list[int] = field(default_factory=list)


def read_index(path: Path) -> Index:
    """Return the pairs of a `train.jsonl`; see `parse_index`."""
    with path.open("rb") as lines:
        return parse_index(lines)


def parse_index(lines: Iterable[bytes]) -> Index:
    """Return the pairs that lines of a `train.jsonl` name. Single-category rows, and repeated ones, are left out.

    The authors' tool writes a pair's rows again on every run, and categories are separated on the fly here.
    """
    index = Index()
    rows: dict[tuple[str, str], Row] = {}
    views: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = Row.model_validate_json(line)
        except ValidationError:
            index.bad_lines.append(number)
            continue
        rows.setdefault((_plain(row.file_name), _plain(row.mask_name)), row)
        views.update(map(_plain, row.category_masks or ()))
    index.pairs = [row for (_, mask_name), row in rows.items() if mask_name not in views]
    return index


def write_index(path: Path, rows: Iterable[Row]) -> None:
    """Write a `train.jsonl`, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row.model_dump(exclude_none=True), ensure_ascii=False) + "\n")
    fresh.replace(path)


def find_named(name: str, has: Callable[[Path], bool]) -> Path | None:
    """Return the file that a row names, of those that there are; None where there is none, or the name leaves them.

    `has` says whether a relative path is a file of the set. The authors' names begin at the folder that their tool
    ran in ("./data/EarthSynth-180K/train/images/7.png"), so the longest end of the name that exists is meant.
    """
    if len(name) > _MAX_NAME or "\0" in name:
        return None
    parts = PurePosixPath(_plain(name)).parts
    if ".." in parts:
        return None
    for start in range(max(0, len(parts) - _MAX_PARTS), len(parts)):
        relative = Path(*parts[start:])
        if not relative.is_absolute() and has(relative):
            return relative
    return None


def _plain(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")))
