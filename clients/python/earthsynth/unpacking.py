"""Unpacking an export: plain files into a folder of their own, which gets its name when all of them are there."""

from __future__ import annotations

import re
import shutil
import stat
import unicodedata
import zipfile
from pathlib import Path

from earthsynth.errors import UnsafeArchive

_LONGEST_PART_BYTES = 255


def unpack(archive: Path, folder: Path) -> bool:
    """Unpacks the zip into `folder`; False when that exists already. A broken-off unpacking is done again.

    Raises UnsafeArchive, before a file is written: a name that is no plain relative path, a link or a device, a name
    twice, more bytes than the disk has room for, no zip; and while writing, a wrong checksum.
    """
    if folder.exists():
        return False
    unfinished = folder.with_name(folder.name + ".part")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    try:
        with zipfile.ZipFile(archive) as found:
            entries = found.infolist()
            _check(entries, archive)
            unfinished.mkdir(parents=True)
            for entry in entries:
                target = unfinished / entry.filename
                if entry.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with found.open(entry) as source, target.open("xb") as out:
                    shutil.copyfileobj(source, out)
    except zipfile.BadZipFile as error:
        raise _refused(archive, str(error)) from error
    unfinished.rename(folder)
    return True


def _check(entries: list[zipfile.ZipInfo], archive: Path) -> None:
    names: set[str] = set()
    for entry in entries:
        fault = name_fault(entry.filename)
        if fault is not None:
            raise _refused(archive, f"{entry.filename!a}: the name {fault}")
        if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise _refused(archive, f"{entry.filename} is a link or a device")
        if entry.filename in names:
            raise _refused(archive, f"{entry.filename} is in it twice")
        names.add(entry.filename)
    needed, free = sum(entry.file_size for entry in entries), shutil.disk_usage(archive.parent).free
    if needed > free:
        raise _refused(archive, f"it unpacks to {needed} bytes, and {free} are free")


def name_fault(name: str) -> str | None:
    """What keeps the name of an entry from being a plain relative path; None: nothing does."""
    parts = name.removesuffix("/").split("/")
    faults = {
        "is empty": not name.strip("/ "),
        "holds a control character": any(
            unicodedata.category(character) in {"Cc", "Cs"} for character in name
        ),
        "holds a backslash": "\\" in name,
        "is an absolute path": name.startswith("/") or re.match(r"[A-Za-z]:", name) is not None,
        "has an empty part, a . or a ..": any(part in {"", ".", ".."} for part in parts),
        "is too long": any(len(part.encode(errors="replace")) > _LONGEST_PART_BYTES for part in parts),
    }
    return next((fault for fault, found in faults.items() if found), None)


def _refused(archive: Path, reason: str) -> UnsafeArchive:
    return UnsafeArchive(f"{archive} is not unpacked: {reason}")
