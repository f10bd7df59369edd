"""A zip's end record and central directory, read strictly and within limits (APPNOTE.TXT 4.3).

Python's own `zipfile` opens an archive of 200,000 entries before anybody can say no (253 MB), reads entries that
overlap, cuts names at NUL and skips data before the archive. So the records are read here, and whatever has two
readings is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from models.errors import InvalidInput, TooLarge, UnsupportedFormat
from models.file_formats import describe

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_MAX_COMMENT = 65_535
_FULL16, _FULL32 = 0xFFFF, 0xFFFF_FFFF  # "see the zip64 record"
_SIGNED64 = 1 << 63


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    max_bytes: int = 512 << 20  # of the archive
    max_entries: int = 10_000
    max_entry_bytes: int = 32 << 20  # of one entry, packed or not
    max_total_bytes: int = 4 << 30  # of all entries, unpacked
    max_directory_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class CentralEntry:
    """One record of the central directory as it stands there; sizes and offset in bytes, zip64 resolved."""

    raw_name: bytes
    flags: int
    method: int
    crc32: int
    packed_bytes: int
    size_bytes: int
    mode: int  # Unix file mode, 0 where the writer had none
    offset: int  # of the local header


@dataclass(frozen=True, slots=True)
class _End:
    entries: int
    directory_bytes: int
    directory_offset: int


def damaged(reason: str) -> InvalidInput:
    return InvalidInput(f"The archive is damaged: {reason}. Pack it again.", code="damaged_file")


def read_directory(file: BinaryIO, limits: ArchiveLimits) -> tuple[list[CentralEntry], int]:
    """Return the directory's records in its order, and the offset where it begins.

    Raises:
        TooLarge: more bytes than `max_bytes`.
        UnsupportedFormat: not a zip; the sentence says what it is.
        InvalidInput: empty_file, empty_archive, damaged_file, leading_data, trailing_data, not_supported (several
            disks), too_many_entries; nothing but the end of the file has been read by then.
    """
    size = file.seek(0, 2)
    if size == 0:
        raise InvalidInput("The file is empty; send a zip.", code="empty_file")
    if size > limits.max_bytes:
        raise TooLarge(f"The archive has {size} bytes of at most {limits.max_bytes}; send it in parts.")
    end_at, end = _find_end(file, size)
    if end.entries > limits.max_entries or end.directory_bytes > limits.max_directory_bytes:
        raise InvalidInput(
            f"The archive has {end.entries} entries in a directory of {end.directory_bytes} bytes; at most "
            f"{limits.max_entries} entries and {limits.max_directory_bytes} bytes are taken. Send it in parts.",
            code="too_many_entries",
        )
    before = end_at - end.directory_bytes - end.directory_offset
    if before < 0:
        raise damaged("its directory is larger than the space before the end record")
    if before > 0:
        raise _leading(before)
    if end.entries == 0:
        raise InvalidInput("The archive has no entries; send a zip.", code="empty_archive")
    file.seek(end.directory_offset)
    entries = list(_entries(file.read(end.directory_bytes), end.entries))
    first = min(entry.offset for entry in entries)
    if first > 0:
        raise _leading(first)
    return entries, end.directory_offset


def _leading(count: int) -> InvalidInput:
    return InvalidInput(
        f"{count} bytes of something else stand before the archive; send a plain zip.", code="leading_data"
    )


def _find_end(file: BinaryIO, size: int) -> tuple[int, _End]:
    """The end of the directory and what the end record says, from the last 64 KB."""
    file.seek(0)
    head = file.read(65_536)
    if head.startswith((b"PK\x07\x08", b"PK00")):
        raise _many_disks()
    tail_at = max(0, size - _END.size - _MAX_COMMENT)
    file.seek(tail_at)
    tail = file.read()
    exact, short = [], False
    at = tail.find(b"PK\x05\x06")
    while at >= 0 and at + _END.size <= len(tail):
        *_, directory_bytes, directory_offset, comment = _END.unpack_from(tail, at)
        if at + _END.size + comment == len(tail):
            exact.append(at)
        elif at + _END.size + comment < len(tail):
            short = short or directory_bytes + directory_offset == tail_at + at
        at = tail.find(b"PK\x05\x06", at + 1)
    is_zip = head.startswith((b"PK\x03\x04", b"PK\x05\x06"))
    if len(exact) > 1:
        raise damaged("it has two end records, one inside the comment of the other")
    if not exact:
        if not is_zip:
            raise UnsupportedFormat(f"The file {describe(head)}; send a zip.")
        if short:
            raise InvalidInput("Data follows the end of the archive; send a plain zip.", code="trailing_data")
        raise damaged("it has no end record, so a part of it is missing")
    return _end_record(tail, exact[0], tail_at)


def _end_record(tail: bytes, at: int, tail_at: int) -> tuple[int, _End]:
    """Read the end record at `at`, or the zip64 one before it, which must not contradict it."""
    _, disk, first_disk, here, entries, directory_bytes, directory_offset, _ = _END.unpack_from(tail, at)
    locator_at = at - _END64_LOCATOR.size
    if locator_at < 0 or tail[locator_at : locator_at + 4] != b"PK\x06\x07":
        if disk or first_disk or here != entries:
            raise _many_disks()
        return tail_at + at, _End(entries, directory_bytes, directory_offset)
    _, locator_disk, end64_offset, disks = _END64_LOCATOR.unpack_from(tail, locator_at)
    end64_at = locator_at - _END64.size
    if locator_disk or disks > 1:
        raise _many_disks()
    if end64_at < 0 or tail[end64_at : end64_at + 4] != b"PK\x06\x06":
        raise damaged("its zip64 end record is missing")
    _, length, _, _, disk64, first_disk64, here64, *large = _END64.unpack_from(tail, end64_at)
    if disk64 or first_disk64 or here64 != large[0]:
        raise _many_disks()
    small = ((entries, _FULL16), (directory_bytes, _FULL32), (directory_offset, _FULL32))
    if length != _END64.size - 12 or any(
        value not in {full, big} for (value, full), big in zip(small, large, strict=True)
    ):
        raise damaged("its two end records contradict each other")
    if end64_offset != large[1] + large[2]:
        raise damaged("its zip64 end record is not where it should be")
    return tail_at + end64_at, _End(*large)


def _many_disks() -> InvalidInput:
    return InvalidInput("The archive is split over several files; send one zip.", code="not_supported")


def _entries(directory: bytes, count: int) -> Iterator[CentralEntry]:
    at = 0
    for _ in range(count):
        if at + _CENTRAL.size > len(directory) or directory[at : at + 4] != b"PK\x01\x02":
            raise damaged("its directory ends early or is not one")
        _, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, disk, _, attributes, offset = (
            _CENTRAL.unpack_from(directory, at)
        )
        extra_at = at + _CENTRAL.size + name
        after = extra_at + extra + comment
        if after > len(directory):
            raise damaged("a record of its directory runs past the end")
        large = [value for value in (size, packed, offset) if value == _FULL32]
        wide = iter(zip64_numbers(directory[extra_at : extra_at + extra], len(large)))
        size, packed, offset = (next(wide) if value == _FULL32 else value for value in (size, packed, offset))
        if disk not in {0, _FULL16}:
            raise _many_disks()
        raw_name = directory[at + _CENTRAL.size : extra_at]
        yield CentralEntry(raw_name, flags, method, crc, packed, size, attributes >> 16, offset)
        at = after
    if at != len(directory):
        raise damaged("its directory is longer than its entries")


def zip64_numbers(extra: bytes, count: int) -> list[int]:
    """Return the first `count` 64-bit numbers of the zip64 extra field.

    Raises:
        InvalidInput: code "damaged_file": it is absent, too short, or a number is of no file that can exist.
    """
    at = 0
    while count and at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1 and 8 * count <= length <= len(extra) - at - 4:
            numbers = list(struct.unpack_from(f"<{count}Q", extra, at + 4))
            if max(numbers) >= _SIGNED64:
                raise damaged("a zip64 size is larger than any file can be")
            return numbers
        at += 4 + length
    if count:
        raise damaged("an entry needs a zip64 size that is not there")
    return []
