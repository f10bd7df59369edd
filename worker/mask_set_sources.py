"""Where a mask set's files come from: the entries of a zip, or objects that the tenant has put under `imports/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pydantic import Field

from models.archives.directory import ArchiveLimits
from models.archives.entries import Refusal, check_archive, read_entry
from models.archives.names import natural_key, shown_name
from models.errors import EarthSynthError, InvalidInput, NotFound
from worker.imports import (
    Imported,
    ImportPrefix,
    ImportReader,
    TotalTooLarge,
    limits_of,
    list_imports,
)
from worker.mask_reading import MaskReading
from worker.settings import Settings
from worker.storage import Storage

_REMEDY = "import them in parts"


class MaskSetRequest(MaskReading):
    """Which masks, and how to read their files."""

    prefix: ImportPrefix | None = Field(
        None, description="take the objects under this prefix of the tenant's imports, in place of a zip"
    )
    tile_size: int | None = Field(
        None,
        ge=64,
        le=4096,
        multiple_of=8,
        description="cut every larger mask into tiles of this side, pixels",
    )
    partial: bool = Field(
        False, description="make the set of the files that can be used, and list the others"
    )


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file's name as `shown_name` gives it, and its bytes or why they cannot be had."""

    name: str
    content: bytes | EarthSynthError


@dataclass(frozen=True, slots=True)
class Source:
    """`files` in natural order of their names, read one by one; and what is known to be none of them."""

    files: Iterator[SourceFile]
    refused: tuple[Refusal, ...]
    ignored: tuple[str, ...]


def archive_files(file: BinaryIO, settings: Settings) -> Source:
    """The files of a zip, whose directory is judged here. Raises as `check_archive`."""
    archive = check_archive(file, limits_of(settings))

    def contents() -> Iterator[SourceFile]:
        for entry in archive.entries:
            try:
                yield SourceFile(entry.name, read_entry(file, entry))
            except InvalidInput as error:
                yield SourceFile(entry.name, error)

    return Source(contents(), archive.refused, archive.ignored)


def imported_files(storage: Storage, tenant: str, prefix: str, settings: Settings) -> Source:
    """The objects under `{tenant}/{prefix}`, named from there on.

    Raises InvalidInput: too_many_entries, empty_import.
    """
    limits = limits_of(settings)
    found = list_imports(storage, tenant, prefix, limits, remedy=_REMEDY)
    return Source(_objects(storage, found, limits), found.refused, found.ignored)


def _objects(storage: Storage, found: Imported, limits: ArchiveLimits) -> Iterator[SourceFile]:
    reader = ImportReader(storage, limits, remedy=_REMEDY)
    for name in sorted(found.keys, key=natural_key):
        try:
            yield SourceFile(shown_name(name), reader.read(found.keys[name]))
        except TotalTooLarge:
            raise
        except (InvalidInput, NotFound) as error:
            yield SourceFile(shown_name(name), error)
