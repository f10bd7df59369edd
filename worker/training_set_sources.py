"""Where a training set's files come from: the entries of a zip, or objects under the tenant's `imports/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pydantic import Field

from models.archives.entries import Refusal, check_archive, read_entry
from models.archives.names import natural_key, shown_name
from models.cfcomp.pairs import MAX_BAD_SHARE
from models.cfcomp.train_jsonl import FILE_NAME
from models.errors import EarthSynthError, InvalidInput
from worker.imports import ImportPrefix, ImportReader, limits_of, list_imports
from worker.mask_reading import MaskReading
from worker.settings import Settings
from worker.storage import Storage

_ROOMS = ("images/", "masks/")
_REMEDY = "pack them as WebDataset shards"


class TrainingSetRequest(MaskReading):
    """Which pairs, and how to read their masks."""

    ignore: bool = Field(True, description="value 255 means: no label here")
    prefix: ImportPrefix | None = Field(
        None, description="take the objects under this prefix of the tenant's imports, in place of a zip"
    )
    max_bad_share: float = Field(
        MAX_BAD_SHARE, ge=0, le=1, description="share of bad pairs above which there is no set"
    )


@dataclass(frozen=True, slots=True)
class TrainingFiles:
    """Files by name, as `shown_name` gives it, from `images/` and `masks/` on.

    `faults` are names of files that cannot be had, and why; `read` returns a file's bytes, or raises that.
    `ignored` is what systems left there. `keys` say where imported files lie in the bucket.
    """

    names: tuple[str, ...]
    faults: Mapping[str, EarthSynthError]
    ignored: tuple[str, ...]
    read: Callable[[str], bytes]
    keys: Mapping[str, str]

    @property
    def has_pairs(self) -> bool:
        """Whether they are laid out as EarthSynth's training set."""
        return any(name == FILE_NAME or name.startswith(_ROOMS) for name in self.names)

    @property
    def shards(self) -> list[str]:
        """The tar files among them, in natural order."""
        return sorted((name for name in self.keys if name.lower().endswith(".tar")), key=natural_key)


def archive_files(file: BinaryIO, settings: Settings) -> TrainingFiles:
    """The files of a zip, whose directory is judged here; one folder around them all is passed over.

    Raises as `check_archive`.
    """
    archive = check_archive(file, limits_of(settings))
    entries = {entry.name: entry for entry in archive.entries}
    root = _root(list(entries))
    contents = {name.removeprefix(root): entry for name, entry in entries.items()}
    faults = _faults(archive.refused, root)

    def read(name: str) -> bytes:
        if name in faults:
            raise faults[name]
        return read_entry(file, contents[name])

    return TrainingFiles(tuple(contents | faults), faults, archive.ignored, read, keys={})


def imported_files(storage: Storage, tenant: str, prefix: str, settings: Settings) -> TrainingFiles:
    """The objects under `{tenant}/{prefix}`, named from there on, or from the one folder in it.

    `read` raises InvalidInput (archive_too_large) when all that was read is more than a zip may hold.

    Raises InvalidInput: too_many_entries, empty_import.
    """
    limits = limits_of(settings)
    found = list_imports(storage, tenant, prefix, limits, remedy=_REMEDY)
    shown = {shown_name(name): key for name, key in found.keys.items()}
    root = _root(list(shown))
    keys = {name.removeprefix(root): key for name, key in shown.items()}
    faults = _faults(found.refused, root)
    reader = ImportReader(storage, limits, remedy=_REMEDY)

    def read(name: str) -> bytes:
        if name in faults:
            raise faults[name]
        return reader.read(keys[name])

    return TrainingFiles(tuple(keys | faults), faults, found.ignored, read, keys)


def _root(names: Sequence[str]) -> str:
    """The folder around them all, with its slash; empty where there is none, or none is needed."""
    first = names[0].partition("/")[0] + "/" if names else ""
    if first in _ROOMS or not all(name.startswith(first) for name in names):
        return ""
    return first


def _faults(refused: Sequence[Refusal], root: str) -> dict[str, EarthSynthError]:
    return {line.name.removeprefix(root): InvalidInput(line.message, code=line.code) for line in refused}
