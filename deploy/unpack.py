"""Unpacking an export: plain files into a folder of their own, which gets its name when all of them are there."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path

from deploy.exit_codes import ExitCode, Unsuccessful
from models.archives.names import check_name
from models.errors import InvalidInput


def unpack(archive: Path, folder: Path) -> bool:
    """Unpack the zip into `folder`; False when that exists already. A broken-off unpacking is done again.

    Raises Unsuccessful (REFUSED), before a file is written: a name that is no plain relative path, a link or a
    device, a name twice, more bytes than the disk has room for, no zip; and while writing, a wrong checksum.
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
        try:
            check_name(entry.filename, len(entry.filename.encode()))
        except InvalidInput as error:
            raise _refused(archive, f"{entry.filename!a}: {error.message}") from error
        if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise _refused(archive, f"{entry.filename} is a link or a device")
        if entry.filename in names:
            raise _refused(archive, f"{entry.filename} is in it twice")
        names.add(entry.filename)
    needed, free = sum(entry.file_size for entry in entries), shutil.disk_usage(archive.parent).free
    if needed > free:
        raise _refused(archive, f"it unpacks to {needed} bytes, and {free} are free")


def _refused(archive: Path, reason: str) -> Unsuccessful:
    return Unsuccessful(ExitCode.REFUSED, f"error: {archive} is not unpacked: {reason}")
