"""What a tenant has put under `imports/`: listed and judged by name, then read within the limits of a zip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from pydantic import StringConstraints

from models.archives.directory import ArchiveLimits
from models.archives.entries import Refusal
from models.archives.names import check_name, is_junk, shown_name
from models.errors import InvalidInput, NotFound, TooLarge
from worker.settings import Settings
from worker.storage import Storage

ImportPrefix = Annotated[
    str,
    StringConstraints(pattern=r"^imports/([A-Za-z0-9_-][A-Za-z0-9._-]*/)*$", max_length=500),
]


@dataclass(frozen=True, slots=True)
class Imported:
    """Objects by their name from the prefix on, and their keys; names that cannot be, and what systems left there."""

    keys: Mapping[str, str]
    refused: tuple[Refusal, ...]
    ignored: tuple[str, ...]


class TotalTooLarge(InvalidInput):
    """The files together are too large: no fault of the one that was being read."""


def limits_of(settings: Settings) -> ArchiveLimits:
    return ArchiveLimits(
        max_bytes=settings.max_archive_bytes,
        max_entries=settings.max_archive_entries,
        max_entry_bytes=settings.max_upload_bytes,
    )


def list_imports(
    storage: Storage, tenant: str, prefix: str, limits: ArchiveLimits, *, remedy: str
) -> Imported:
    """The objects under `{tenant}/{prefix}`; `remedy` is what to do where there are too many.

    Raises InvalidInput: too_many_entries, empty_import.
    """
    top = f"{tenant}/{prefix}"
    names = [key.removeprefix(top) for key in islice(storage.keys(top), limits.max_entries + 1)]
    if len(names) > limits.max_entries:
        raise InvalidInput(
            f"There are more than {limits.max_entries} objects under {prefix}; {remedy}.",
            code="too_many_entries",
        )
    refused, ignored, keys = [], [], {}
    for name in names:
        try:
            check_name(name, len(name.encode()))
        except InvalidInput as error:
            refused.append(Refusal(shown_name(name), error.code, error.message))
            continue
        if is_junk(name):
            ignored.append(shown_name(name))
        elif not name.endswith("/"):  # some tools make empty objects in place of folders
            keys[name] = top + name
    if not keys and not refused:
        raise InvalidInput(f"There are no objects under {prefix}.", code="empty_import")
    return Imported(keys, tuple(refused), tuple(ignored))


class ImportReader:
    """Reads objects until all of them together are more than a zip may hold."""

    def __init__(self, storage: Storage, limits: ArchiveLimits, *, remedy: str) -> None:
        self._storage, self._limits, self._remedy = storage, limits, remedy
        self._left_bytes = limits.max_total_bytes

    def read(self, key: str) -> bytes:
        """Raises InvalidInput (entry_too_large), NotFound (object_gone), TotalTooLarge (archive_too_large)."""
        try:
            content = self._storage.read(key, max_bytes=self._limits.max_entry_bytes)
        except TooLarge as error:
            raise InvalidInput(f"{error.message} Cut it into tiles.", code="entry_too_large") from error
        except NotFound as error:
            raise NotFound("The object was deleted meanwhile.", code="object_gone") from error
        self._left_bytes -= len(content)
        if self._left_bytes < 0:
            raise TotalTooLarge(
                f"The objects have more than {self._limits.max_total_bytes} bytes; {self._remedy}.",
                code="archive_too_large",
            )
        return content
