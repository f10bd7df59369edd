"""An export as one zip file: equal files, equal bytes."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_PACKED = {".png", ".tar", ".jpg"}  # deflating these again costs time and saves nothing
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
_MODE = 0o644 << 16


@dataclass(frozen=True, slots=True)
class Archive:
    """What was written: how many bytes, and their SHA-256 in hex."""

    bytes: int
    sha256: str


def write_archive(folder: Path, target: Path | IO[bytes]) -> Archive:
    """Write all files of `folder`, sorted by name, as a zip to `target`, and return its size and hash.

    A stream need not be seekable: the archive is written from front to back, a piece of a file in memory at a
    time. Pictures and tar files are stored, texts deflated; times are 1980-01-01.
    """
    if isinstance(target, Path):
        with target.open("wb") as file:
            return write_archive(folder, file)
    counted = _Counted(target)
    with zipfile.ZipFile(counted, "w") as archive:  # type: ignore[call-overload]
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            if not path.is_file():
                continue
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
            entry.compress_type = zipfile.ZIP_STORED if path.suffix in _PACKED else zipfile.ZIP_DEFLATED
            entry.external_attr = _MODE
            entry.create_system = 3  # Unix, on every machine
            large = path.stat().st_size >= zipfile.ZIP64_LIMIT
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=large) as part:
                shutil.copyfileobj(source, part, 1 << 20)
    return Archive(counted.bytes, counted.sha256.hexdigest())


class _Counted:
    """A stream that counts and hashes what passes; it cannot seek, so that nothing is written twice."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self.bytes = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self._target.write(data)
        self.sha256.update(data)
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        self._target.flush()
