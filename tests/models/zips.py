"""Zips with any field forged, written record by record; honest ones come from `zipfile`."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field


@dataclass
class Forged:
    """One entry, honest unless told otherwise: None means "what is true"."""

    name: bytes = b"a.png"
    body: bytes = b"mask"
    method: int = 8
    flags: int = 0
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    mode: int = 0o100644
    extra: bytes = b""
    local_extra: bytes = b""
    offset: int | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    local_sizes: tuple[int, int, int] | None = None  # crc, packed, size
    date: int = 0x21
    written: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.written = packer.compress(self.body) + packer.flush() if self.method == 8 else self.body
        self.size = len(self.body) if self.size is None else self.size
        self.packed = len(self.written) if self.packed is None else self.packed
        self.crc = zlib.crc32(self.body) if self.crc is None else self.crc


def local(entry: Forged) -> bytes:
    name = entry.name if entry.local_name is None else entry.local_name
    method = entry.method if entry.local_method is None else entry.local_method
    sizes = entry.local_sizes or (entry.crc, entry.packed, entry.size)
    head = struct.pack(
        "<4s5H3L2H",
        *(b"PK\x03\x04", 20, entry.flags, method, 0, entry.date, *sizes, len(name), len(entry.local_extra)),
    )
    return head + name + entry.local_extra + entry.written


def central(entry: Forged, offset: int, disk: int = 0) -> bytes:
    offset = offset if entry.offset is None else entry.offset
    head = struct.pack(
        "<4s6H3L5H2L",
        *(b"PK\x01\x02", 3 << 8 | 20, 20, entry.flags, entry.method, 0, entry.date),
        *(entry.crc, entry.packed, entry.size, len(entry.name), len(entry.extra), 0, disk, 0),
        *(entry.mode << 16, offset),
    )
    return head + entry.name + entry.extra


def end(
    count: int,
    size: int,
    offset: int,
    *,
    comment: bytes = b"",
    disk: int = 0,
    here: int | None = None,
) -> bytes:
    here = count if here is None else here
    return (
        struct.pack("<4s4H2LH", b"PK\x05\x06", disk, disk, here, count, size, offset, len(comment)) + comment
    )


def end64(count: int, size: int, offset: int, *, at: int | None = None) -> bytes:
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    return record + struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + size if at is None else at, 1)


def forge(*entries: Forged, comment: bytes = b"", between: bytes = b"") -> bytes:
    """A zip of these entries; `between` stands before the directory."""
    bodies, directory = b"", b""
    for entry in entries:
        directory += central(entry, len(bodies))
        bodies += local(entry)
    bodies += between
    return bodies + directory + end(len(entries), len(directory), len(bodies), comment=comment)


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An honest zip, by the standard library."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return out.getvalue()
