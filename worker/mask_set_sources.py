"""Where a mask set's files come from: the entries of a zip, or objects that the tenant has put under `imports/`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, BinaryIO

from pydantic import Field, StringConstraints

from models.archives.directory import ArchiveLimits
from models.archives.entries import Refusal, check_archive, read_entry
from models.archives.names import check_name, is_junk, natural_key, shown_name
from models.errors import EarthSynthError, InvalidInput, NotFound, TooLarge
from worker.settings import Settings
from worker.specs import MaskReading
from worker.storage import Storage

ImportPrefix = Annotated[
    str,
    StringConstraints(pattern=r"^imports/([A-Za-z0-9_-][A-Za-z0-9._-]*/)*$", max_length=500),
]


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


def limits_of(settings: Settings) -> ArchiveLimits:
    return ArchiveLimits(
        max_bytes=settings.max_archive_bytes,
        max_entries=settings.max_archive_entries,
        max_entry_bytes=settings.max_upload_bytes,
    )


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
    root = f"{tenant}/{prefix}"
    names = [key.removeprefix(root) for key in islice(storage.keys(root), limits.max_entries + 1)]
    if len(names) > limits.max_entries:
        raise InvalidInput(
            f"There are more than {limits.max_entries} objects under {prefix}; import them in parts.",
            code="too_many_entries",
        )
    refused, ignored, good = [], [], []
    for name in names:
        try:
            check_name(name, len(name.encode()))
        except InvalidInput as error:
            refused.append(Refusal(shown_name(name), error.code, error.message))
            continue
        if is_junk(name):
            ignored.append(shown_name(name))
        elif not name.endswith("/"):  # some tools make empty objects in place of folders
            good.append(name)
    if not good and not refused:
        raise InvalidInput(f"There are no objects under {prefix}.", code="empty_import")
    contents = _objects(storage, root, sorted(good, key=natural_key), limits)
    return Source(contents, tuple(refused), tuple(ignored))


def _objects(
    storage: Storage, root: str, names: Sequence[str], limits: ArchiveLimits
) -> Iterator[SourceFile]:
    total = 0
    for name in names:
        try:
            content = storage.read(root + name, max_bytes=limits.max_entry_bytes)
        except TooLarge as error:
            large = InvalidInput(f"{error.message} Cut it into tiles.", code="entry_too_large")
            yield SourceFile(shown_name(name), large)
            continue
        except NotFound:
            yield SourceFile(
                shown_name(name), NotFound("The object was deleted meanwhile.", code="object_gone")
            )
            continue
        total += len(content)
        if total > limits.max_total_bytes:
            raise InvalidInput(
                f"The objects have more than {limits.max_total_bytes} bytes; import them in parts.",
                code="archive_too_large",
            )
        yield SourceFile(shown_name(name), content)
