"""Mask sets come in: a zip, imported objects or mask ids are checked one by one, then kept as one set.

A set is checked whole before anything of it is stored: what passes waits in a temporary file without a name. So a
refused set leaves nothing behind, and memory holds a few masks at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from models.archives.entries import Refusal
from models.errors import FieldError, InvalidInput, NotFound
from worker.intake import Intake, MaskRecord
from worker.lookahead import in_order
from worker.mask_set_checks import Spool, check_all
from worker.mask_set_manifest import (
    MaskSetCategory,
    MaskSetDraft,
    MaskSetEntry,
    MaskSetRecord,
    entries,
    find_mask_set,
    iterate,
    sizes_of,
)
from worker.mask_set_sources import MaskSetRequest, archive_files, imported_files

__all__ = [
    "KeptMaskSet",
    "MaskSetCategory",
    "MaskSetEntry",
    "MaskSetRecord",
    "MaskSetRequest",
    "entries",
    "find_mask_set",
    "from_mask_ids",
    "iterate",
    "keep_mask_set",
    "sizes_of",
]

MAX_MASK_IDS = 1_000  # of an implicit set
MAX_ERRORS = 100  # refused files that a problem document lists
_STORE_THREADS = 8  # they wait for S3


@dataclass(frozen=True, slots=True)
class KeptMaskSet:
    """The set, whether it is new, and the files that are not in it; names as `shown_name` gives them."""

    record: MaskSetRecord
    created: bool
    refused: tuple[Refusal, ...]
    ignored: tuple[str, ...]


def keep_mask_set(
    intake: Intake, tenant: str, asked: MaskSetRequest, archive: BinaryIO | None
) -> KeptMaskSet:
    """Checks every file of the zip, or under `asked.prefix`, and stores them as a set.

    Raises:
        InvalidInput: masks_refused with a line for each of the first 100 files, unless `asked.partial` and some
            can be used; mask_missing; what is wrong with the archive as a whole.
        TooLarge, UnsupportedFormat: the archive as a whole.
    """
    if (archive is None) == (asked.prefix is None):
        raise InvalidInput(
            "Send a zip as the file part `file`, or a prefix: exactly one.",
            code="mask_missing",
            errors=[FieldError("/file", "exactly one of file and prefix")],
        )
    if archive is not None:
        source = archive_files(archive, intake.settings)
    else:
        source = imported_files(intake.storage, tenant, asked.prefix or "", intake.settings)
    refused = list(source.refused)
    with MaskSetDraft() as draft, Spool() as spool:
        files = check_all(source.files, asked, intake.settings.max_mask_side, draft, spool, refused)
        if refused and not (asked.partial and files):
            raise _refusal(refused, files + len(refused), partial=asked.partial)
        record, created = draft.record(files), False
        try:
            record = find_mask_set(intake.storage, tenant, record.id)
        except NotFound:
            _store_masks(intake, tenant, spool)
            record, created = draft.store(intake.storage, tenant, record)
    return KeptMaskSet(record, created, tuple(refused), source.ignored)


def from_mask_ids(
    intake: Intake, tenant: str, mask_ids: Sequence[str], *, keep: bool = True
) -> MaskSetRecord:
    """The set of these stored masks in this order; each is a group of its own, under its id.

    Without `keep` it is only looked at, not stored.

    Raises NotFound (mask_not_found) that names the absent ones, InvalidInput (too_many_masks, mask_missing).
    """
    if not 0 < len(mask_ids) <= MAX_MASK_IDS:
        raise InvalidInput(
            f"Send 1 to {MAX_MASK_IDS} mask ids, not {len(mask_ids)}; more of them as a mask set.",
            code="too_many_masks" if mask_ids else "mask_missing",
        )

    def look_up(mask_id: str) -> MaskRecord | None:
        try:
            return intake.find_mask(tenant, mask_id)
        except NotFound:
            return None

    with ThreadPoolExecutor(_STORE_THREADS) as threads:
        found = list(threads.map(look_up, mask_ids))
    absent = [(place, mask_ids[place]) for place, mask in enumerate(found) if mask is None]
    if absent:
        raise NotFound(
            f"{len(absent)} of {len(mask_ids)} masks are not there: "
            + ", ".join(mask_id[:80] for _, mask_id in absent[:5])
            + (", …" if len(absent) > 5 else ""),
            code="mask_not_found",
            errors=[
                FieldError(f"/masks/mask_ids/{place}", "There is no such mask.") for place, _ in absent[:100]
            ],
        )
    with MaskSetDraft() as draft:
        for mask in found:
            if mask is not None:
                draft.add(
                    mask.id,
                    name=mask.id,
                    group=mask.id,
                    width=mask.width,
                    height=mask.height,
                    pixels={category.id: category.pixels for category in mask.categories},
                    warnings=mask.warnings,
                )
        record = draft.record(len(set(mask_ids)))
        return draft.store(intake.storage, tenant, record)[0] if keep else record


def _refusal(refused: Sequence[Refusal], files: int, *, partial: bool) -> InvalidInput:
    first = refused[0]
    remedy = "Correct them." if partial else "Correct them, or send partial=true to leave them out."
    return InvalidInput(
        f"{len(refused)} of {files} files cannot be used; the first is {first.name}: {first.message} {remedy}",
        code="masks_refused",
        errors=[
            FieldError(_pointer(line.name), f"{line.code}: {line.message}") for line in refused[:MAX_ERRORS]
        ],
    )


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _store_masks(intake: Intake, tenant: str, spool: Spool) -> None:
    with ThreadPoolExecutor(_STORE_THREADS) as threads:
        for _ in in_order(
            threads, lambda mask: intake.keep_mask(tenant, mask), spool.masks(), ahead=2 * _STORE_THREADS
        ):
            pass
