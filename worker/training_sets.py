"""Training sets come in: every pair of a zip or of imported objects is looked at, then they are kept as one set.

A set is checked whole before anything of it is stored: what passes waits in a temporary file without a name. So a
refused set leaves nothing behind, and memory holds a few pairs at a time. Of imported shards nothing is copied: they
are read through once, and named.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from models.cfcomp.pair_files import BadPair
from models.cfcomp.pairs import MaskReading, count_pixels, refusal
from models.cfcomp.shards import Shard, ShardReport, read_shards
from models.errors import FieldError, InvalidInput, NotFound
from worker.intake import Intake
from worker.layout import training_file_key
from worker.lookahead import in_order
from worker.mask_reading import MaskReading as MaskOptions
from worker.training_set_checks import Spool, StoredFile, check_all, check_reading
from worker.training_set_manifest import (
    Layout,
    ShardEntry,
    ShardReading,
    TrainingSetCategory,
    TrainingSetDraft,
    TrainingSetRecord,
    find_training_set,
)
from worker.training_set_sources import TrainingFiles, TrainingSetRequest, archive_files, imported_files

__all__ = [
    "KeptTrainingSet",
    "Layout",
    "TrainingSetCategory",
    "TrainingSetRecord",
    "TrainingSetRequest",
    "find_training_set",
    "keep_training_set",
]

_STORE_THREADS = 4  # they wait for S3, and each holds a file
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "tif": "image/tiff"}


@dataclass(frozen=True, slots=True)
class KeptTrainingSet:
    """The set, whether it is new, and what of this upload is not in it; names as `shown_name` gives them."""

    record: TrainingSetRecord
    created: bool
    refused: tuple[BadPair, ...]
    ignored: tuple[str, ...]


def keep_training_set(
    intake: Intake, tenant: str, asked: TrainingSetRequest, archive: BinaryIO | None
) -> KeptTrainingSet:
    """Checks every pair of the zip, or under `asked.prefix`, and keeps the good ones as a set.

    Raises:
        InvalidInput: no_pairs, too_many_bad_pairs, with a line for each of the first 100; pairs_missing,
            mixed_layouts; what is wrong with the archive, the import or a shard as a whole.
        TooLarge, UnsupportedFormat: the archive as a whole.
        UnknownCategory: an option names a category or an ontology nobody knows.
    """
    if (archive is None) == (asked.prefix is None):
        raise InvalidInput(
            "Send a zip as the file part `file`, or a prefix: exactly one.",
            code="pairs_missing",
            errors=[FieldError("/file", "exactly one of file and prefix")],
        )
    options = MaskOptions(**asked.model_dump(include=set(MaskOptions.model_fields)))
    reading = mask_reading(options, intake.settings.max_mask_side)
    check_reading(reading)
    if archive is not None:
        return _keep_pairs(intake, tenant, asked, archive_files(archive, intake.settings), reading)
    files = imported_files(intake.storage, tenant, asked.prefix or "", intake.settings)
    if not files.shards:
        return _keep_pairs(intake, tenant, asked, files, reading)
    if files.has_pairs:
        raise InvalidInput(
            "There are tar files beside images/ and masks/; import one kind at a time.", code="mixed_layouts"
        )
    return _keep_shards(intake, tenant, asked, files, reading, options)


def mask_reading(options: MaskOptions, max_side: int) -> MaskReading:
    """How a training reads masks, of how masks are read anywhere."""
    return MaskReading(
        encoding=options.encoding,
        ontology=options.ontology,
        label_map=options.label_map,
        ignore=options.ignore,
        category=options.category,
        max_side=max_side,
    )


def _keep_pairs(
    intake: Intake, tenant: str, asked: TrainingSetRequest, files: TrainingFiles, reading: MaskReading
) -> KeptTrainingSet:
    with TrainingSetDraft() as draft, Spool() as spool:
        bad, unused = check_all(files, reading, intake.settings.max_archive_entries, draft, spool)
        good = draft.entries
        if not good or len(bad) > asked.max_bad_share * (good + len(bad)):
            raise refusal(good, bad, asked.max_bad_share)
        record, created = draft.record(len(bad)), False
        try:
            record = find_training_set(intake.storage, tenant, record.id)
        except NotFound:
            _store_files(intake, tenant, spool)
            record, created = draft.store(intake.storage, tenant, record)
    return KeptTrainingSet(record, created, tuple(bad), (*files.ignored, *unused))


def _keep_shards(
    intake: Intake,
    tenant: str,
    asked: TrainingSetRequest,
    files: TrainingFiles,
    reading: MaskReading,
    options: MaskOptions,
) -> KeptTrainingSet:
    storage, names, report = intake.storage, files.shards, ShardReport()
    how = ShardReading(masks=options, max_side=reading.max_side)
    with TrainingSetDraft(how) as draft:
        shards = []
        for number, name in enumerate(names):
            key = files.keys[name]
            facts = storage.stat(key)
            draft.add(
                ShardEntry(
                    number=number,
                    name=name,
                    path=key.removeprefix(f"{tenant}/"),
                    bytes=facts.bytes,
                    etag=facts.etag,
                )
            )
            shards.append(Shard(name, partial(storage.open, key, etag=facts.etag)))
        for pair in read_shards(shards, report, reading=reading, max_bad_share=asked.max_bad_share):
            draft.tally(count_pixels(pair.mask), pair.mask.size)
        record, created = draft.store(storage, tenant, draft.record(len(report.refused)))
    refused = [
        *report.refused,
        *(BadPair(name, error.code, error.message) for name, error in files.faults.items()),
    ]
    unused = [name for name in files.names if name not in names and name not in files.faults]
    return KeptTrainingSet(record, created, tuple(refused), (*files.ignored, *unused))


def _store_files(intake: Intake, tenant: str, spool: Spool) -> None:
    def store(file: StoredFile) -> None:
        kind = file.name.rpartition(".")[2]
        intake.storage.create(training_file_key(tenant, file.name), file.content, _TYPES[kind])

    with ThreadPoolExecutor(_STORE_THREADS) as threads:
        for _ in in_order(threads, store, spool.files(), ahead=_STORE_THREADS):
            pass
