"""The pairs of a training set, checked one by one; what passes waits on disk until the whole set has passed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from models.cfcomp.pair_files import BadPair, PairFiles, match_names, named_pairs
from models.cfcomp.pairs import GoodPair, MaskReading, look_at
from models.cfcomp.train_jsonl import FILE_NAME, parse_index
from models.errors import EarthSynthError, InvalidInput
from models.masks import encode_png
from worker.imports import TotalTooLarge
from worker.lookahead import in_order
from worker.training_set_manifest import PairEntry, TrainingSetDraft
from worker.training_set_sources import TrainingFiles

CHECK_THREADS = min(4, os.cpu_count() or 1)  # each may hold a pair of the largest side
_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}  # else TIFF, which has two beginnings


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file under the sha256 of its bytes, as "{sha256}.png"."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class CheckedPair:
    found: GoodPair
    picture: StoredFile
    mask: StoredFile


class Spool:
    """Files on their way into storage, in a temporary file without a name; equal ones once."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        self._known: dict[str, int] = {}

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, file: StoredFile) -> None:
        if file.name not in self._known:
            self._known[file.name] = len(file.content)
            self._file.write(file.content)

    def files(self) -> Iterator[StoredFile]:
        """Every file once, read when its turn comes."""
        self._file.seek(0)
        for name, size in self._known.items():
            yield StoredFile(name, self._file.read(size))


@dataclass(frozen=True, slots=True)
class _ReadPair:
    files: PairFiles
    picture: bytes
    mask: bytes


def check_all(
    files: TrainingFiles, reading: MaskReading, most: int, draft: TrainingSetDraft, spool: Spool
) -> tuple[list[BadPair], list[str]]:
    """Puts good pairs into the draft and the spool; returns the bad ones, and the names of files in no pair.

    Raises InvalidInput: too_many_entries: more than `most` pairs; archive_too_large; why train.jsonl cannot be had.
    """

    def check(pair: _ReadPair | BadPair) -> CheckedPair | BadPair:
        if isinstance(pair, BadPair):
            return pair
        try:
            return _check(pair, reading)
        except EarthSynthError as error:
            return BadPair(pair.files.name, error.code, error.message)

    bad: list[BadPair] = []
    used: set[str] = set()
    with ThreadPoolExecutor(CHECK_THREADS) as threads:
        for found in in_order(threads, check, _read_all(files, most, used), ahead=CHECK_THREADS):
            if isinstance(found, BadPair):
                bad.append(found)
                continue
            spool.add(found.picture)
            spool.add(found.mask)
            draft.add(_entry(draft.entries, found))
            draft.tally(found.found.pixels, found.found.width * found.found.height)
    named = used | {one.name for one in bad}
    bad += [
        BadPair(name, error.code, error.message) for name, error in files.faults.items() if name not in named
    ]
    unused = [name for name in files.names if name not in named and name not in files.faults]
    return bad, unused


def _listed(files: TrainingFiles) -> Iterator[PairFiles | BadPair]:
    """The pairs that `train.jsonl` names, or without one those of `images/` and `masks/`, by name."""
    paths = {Path(name) for name in files.names}
    if FILE_NAME in files.names:
        return named_pairs(parse_index(files.read(FILE_NAME).splitlines()), paths.__contains__)
    return match_names(paths)


def _read_all(files: TrainingFiles, most: int, used: set[str]) -> Iterator[_ReadPair | BadPair]:
    """Reads in one thread: an archive has one place where it is read."""
    used.add(FILE_NAME)
    for number, pair in enumerate(_listed(files)):
        if number == most:
            raise InvalidInput(
                f"There are more than {most} pairs; pack them as WebDataset shards.", code="too_many_entries"
            )
        if isinstance(pair, BadPair):
            fault = files.faults.get(pair.name)  # says more than that it lacks a partner
            yield pair if fault is None else BadPair(pair.name, fault.code, fault.message)
            continue
        picture, mask = pair.picture.as_posix(), pair.mask.as_posix()
        used |= {picture, mask}
        try:
            yield _ReadPair(pair, files.read(picture), files.read(mask))
        except TotalTooLarge:
            raise
        except EarthSynthError as error:
            if error.retryable:
                raise
            yield BadPair(pair.name, error.code, error.message)


def _check(pair: _ReadPair, reading: MaskReading) -> CheckedPair:
    found, ids = look_at(pair.files, pair.picture, pair.mask, reading)
    kind = next((kind for magic, kind in _KINDS.items() if pair.picture.startswith(magic)), "tif")
    return CheckedPair(found, _stored(pair.picture, kind), _stored(encode_png(ids), "png"))


def _stored(content: bytes, kind: str) -> StoredFile:
    return StoredFile(f"{hashlib.sha256(content).hexdigest()}.{kind}", content)


def _entry(number: int, pair: CheckedPair) -> PairEntry:
    return PairEntry(
        number=number,
        name=pair.found.files.name,
        picture=pair.picture.name,
        mask=pair.mask.name,
        width=pair.found.width,
        height=pair.found.height,
        category_ids=tuple(sorted(pair.found.pixels)),
        text=pair.found.text,
    )


def check_reading(reading: MaskReading) -> None:
    """Raises what is wrong with the options themselves, whatever file they are applied to.

    UnknownCategory, or MaskRefused: invalid_label_map, category_required, ambiguous_encoding.
    """
    try:
        reading.decode(b"")
    except InvalidInput as error:
        if error.code != "empty_file":
            raise
