"""Which entries of a zip may be read, and reading one: never more bytes than it declares."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from models.archives.directory import ArchiveLimits, CentralEntry, damaged, read_directory, zip64_numbers
from models.archives.names import check_name, decode_name, is_junk, natural_key, shown_name
from models.errors import EarthSynthError, InvalidInput

_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _DESCRIPTOR, _PATCH, _STRONG, _UTF8, _MASKED = 0x1, 0x8, 0x20, 0x40, 0x800, 0x2000
_COMPARED = _ENCRYPTED | _DESCRIPTOR | _STRONG | _UTF8 | _MASKED
_FULL32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive that may be read. `name` is as `shown_name` gives it."""

    name: str
    method: int
    crc32: int
    packed_bytes: int
    size_bytes: int
    data_offset: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that is not taken: its name as `shown_name` gives it, a stable code and one sentence."""

    name: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Archive:
    """`entries` in natural order of their names, `refused` in the archive's, `ignored` what systems left there."""

    entries: tuple[Entry, ...]
    refused: tuple[Refusal, ...]
    ignored: tuple[str, ...]


def check_archive(file: BinaryIO, limits: ArchiveLimits = ArchiveLimits()) -> Archive:  # noqa: B008  (frozen)
    """Judge a zip by its directory and its local headers; nothing is inflated.

    Raises:
        InvalidInput, TooLarge, UnsupportedFormat: as `read_directory`, and archive_too_large (the entries'
            sum), overlapping_entries, damaged_file (a local header contradicts the directory).
    """
    central, directory_at = read_directory(file, limits)
    total = sum(entry.size_bytes for entry in central)
    if total > limits.max_total_bytes:
        raise InvalidInput(
            f"The archive unpacks to {total} bytes of at most {limits.max_total_bytes}; send it in parts.",
            code="archive_too_large",
        )
    offsets = _data_offsets(file, central, directory_at)
    entries: dict[str, Entry] = {}
    refused: list[Refusal] = []
    ignored: list[str] = []
    for found, data_offset in zip(central, offsets, strict=True):
        name = shown_name(found.raw_name.decode("utf-8", errors="backslashreplace"))
        try:
            text = decode_name(found.raw_name, is_utf8=bool(found.flags & _UTF8))
            name = shown_name(text)
            check_name(text, len(found.raw_name))
            if is_junk(text):
                ignored.append(name)
                continue
            _check_kind(found, limits, is_folder=text.endswith("/"))
            if text in entries:
                raise InvalidInput("An earlier entry has the same name.", code="duplicate_name")
        except EarthSynthError as error:
            refused.append(Refusal(name, error.code, error.message))
            continue
        if not text.endswith("/"):
            entries[text] = Entry(
                name, found.method, found.crc32, found.packed_bytes, found.size_bytes, data_offset
            )
    if not entries and not refused:
        raise InvalidInput("The archive holds no files; send a zip.", code="empty_archive")
    ordered = sorted(entries, key=natural_key)
    return Archive(tuple(entries[text] for text in ordered), tuple(refused), tuple(ignored))


def read_entry(file: BinaryIO, entry: Entry) -> bytes:
    """Return the entry's content; at most its declared size and one byte are ever inflated.

    Raises:
        InvalidInput: code "damaged_file": its content has another size or checksum than declared.
    """
    file.seek(entry.data_offset)
    packed = file.read(entry.packed_bytes)
    content = packed
    if entry.method == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflater.decompress(packed, entry.size_bytes + 1)
        except zlib.error as error:
            raise _damaged_entry("it cannot be inflated") from error
        if len(content) == entry.size_bytes and (not inflater.eof or inflater.unused_data):
            raise _damaged_entry("its compressed data ends too early or too late")
    if len(content) != entry.size_bytes:
        than = "more" if len(content) > entry.size_bytes else "less"
        raise _damaged_entry(f"it holds {than} than the {entry.size_bytes} bytes that the archive declares")
    if zlib.crc32(content) != entry.crc32:
        raise _damaged_entry("its checksum is wrong")
    return content


def _damaged_entry(reason: str) -> InvalidInput:
    return InvalidInput(f"The entry is damaged: {reason}. Pack the archive again.", code="damaged_file")


def _check_kind(entry: CentralEntry, limits: ArchiveLimits, *, is_folder: bool) -> None:
    """Raise InvalidInput for an entry that is not a plain, readable file or folder."""
    if stat.S_IFMT(entry.mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise InvalidInput(
            "The entry is a link or a device; put the file itself into the archive.",
            code="link_not_supported",
        )
    if entry.method not in {_STORED, _DEFLATED} or entry.flags & _PATCH:
        raise InvalidInput(
            f"The entry is compressed by method {entry.method}; use deflate (zip's default) or none.",
            code="unsupported_compression",
        )
    if entry.flags & (_ENCRYPTED | _STRONG | _MASKED):
        raise InvalidInput("The entry is encrypted; send it without.", code="encrypted_not_supported")
    if max(entry.size_bytes, entry.packed_bytes) > limits.max_entry_bytes:
        raise InvalidInput(
            f"The entry has {entry.size_bytes} bytes of at most {limits.max_entry_bytes}; cut it into tiles.",
            code="entry_too_large",
        )
    if is_folder and entry.size_bytes:
        raise _damaged_entry("it is a folder with content")


def _data_offsets(file: BinaryIO, entries: Sequence[CentralEntry], directory_at: int) -> list[int]:
    """Where each entry's content begins. Raises InvalidInput: overlapping_entries, damaged_file."""
    heads = []
    for entry in entries:
        if entry.offset + _LOCAL.size > directory_at:
            raise _overlapping()
        file.seek(entry.offset)
        heads.append(file.read(_LOCAL.size))
    starts = sorted((entry.offset, number) for number, entry in enumerate(entries))
    offsets = [0] * len(entries)
    for (start, number), (following, _) in zip(starts, [*starts[1:], (directory_at, -1)], strict=True):
        if not heads[number].startswith(b"PK\x03\x04"):
            raise damaged("an entry is not where the directory says")
        *_, name_bytes, extra_bytes = _LOCAL.unpack(heads[number])
        offsets[number] = start + _LOCAL.size + name_bytes + extra_bytes
        if offsets[number] + entries[number].packed_bytes > following:
            raise _overlapping()
    for entry, head, data_offset in zip(entries, heads, offsets, strict=True):
        file.seek(entry.offset + _LOCAL.size)
        _check_local(entry, head, file.read(data_offset - entry.offset - _LOCAL.size))
    return offsets


def _overlapping() -> InvalidInput:
    return InvalidInput("Entries of the archive overlap; pack it again.", code="overlapping_entries")


def _check_local(entry: CentralEntry, head: bytes, rest: bytes) -> None:
    """Raise InvalidInput (damaged_file) where the local header says something else than the directory."""
    _, _, flags, method, _, _, crc, packed, size, name_bytes, _ = _LOCAL.unpack(head)
    if rest[:name_bytes] != entry.raw_name or method != entry.method or (flags ^ entry.flags) & _COMPARED:
        raise damaged("an entry's own header contradicts the directory")
    if flags & (_MASKED | _ENCRYPTED | _STRONG):
        return  # refused by `_check_kind`; its numbers may be hidden
    large = [value for value in (size, packed) if value == _FULL32]
    wide = iter(zip64_numbers(rest[name_bytes:], len(large)))
    size, packed = (next(wide) if value == _FULL32 else value for value in (size, packed))
    said, expected = (crc, packed, size), (entry.crc32, entry.packed_bytes, entry.size_bytes)
    if flags & _DESCRIPTOR and said == (0, 0, 0):  # a writer that could not seek: the directory alone knows
        return
    if said != expected:
        raise damaged("an entry's own header contradicts the directory")
