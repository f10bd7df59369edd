"""A file that is being downloaded: what is there of it, its running sha256, and its name once it is whole."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from earthsynth.errors import DownloadError

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_RUN_OUT = frozenset({400, 401, 403})
_CHUNK = 1024 * 1024

Progress = Callable[[int, int], object]
"""Called with the bytes that are there and the bytes that there will be."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """`url` is presigned and runs out; the other two say which bytes they are."""

    url: str
    bytes: int
    sha256: str


class Verdict(Enum):
    """What the storage's answer to a request for the missing part is good for."""

    APPEND = "append"  # its body goes on where the file ends
    REPLACE = "replace"  # its body is the whole file
    RENEW = "renew"  # the URL has run out: ask for a fresh one
    AWAY = "away"  # not now


def judge(status: int, headers: Mapping[str, str], have: int, wanted: RemoteFile, *, fresh: bool) -> Verdict:
    """Raises DownloadError for another file than the one wanted. `fresh`: the URL has not been tried before."""
    if status == 206:
        found = _RANGE.fullmatch(headers.get("content-range", ""))
        if found is None or (int(found[1]), int(found[2])) != (have, wanted.bytes):
            raise DownloadError("the storage sent another part than was asked for, or the file has changed")
        return Verdict.APPEND
    if status == 200:
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) != wanted.bytes:
            raise DownloadError(f"the file has {length} bytes and not {wanted.bytes}, as the API says")
        return Verdict.REPLACE  # no server must honour Range
    if status in _RUN_OUT and not fresh:
        return Verdict.RENEW
    if status >= 500 or status == 429:
        return Verdict.AWAY
    raise DownloadError(f"the storage answers {status} for the file")


def is_whole(path: Path, wanted: RemoteFile) -> bool:
    """Whether the file is there already."""
    if not path.is_file() or path.stat().st_size != wanted.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256


class PartFile:
    """`{path}.part`, open for appending and locked, until `commit` gives it its name."""

    def __init__(self, path: Path) -> None:
        """Raises DownloadError where another process downloads the same."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._part = path, path.with_name(path.name + ".part")
        self._file = self._part.open("a+b")
        try:
            _lock(self._file, self._part)
            self._file.seek(0)
            self._digest = hashlib.file_digest(self._file, "sha256")
        except BaseException:
            self._file.close()
            raise
        self.size = self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """Of what is there."""
        return self._digest.hexdigest()

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def start_anew(self) -> None:
        self._file.flush()
        self._file.truncate(0)
        self._digest, self.size = hashlib.sha256(), 0

    def commit(self) -> None:
        """Gives the file its name, once its bytes are on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if sys.platform == "win32":  # an open file cannot be renamed there
            self._file.close()
        self._part.replace(self._path)

    def discard(self) -> None:
        if sys.platform == "win32":
            self._file.close()
        self._part.unlink(missing_ok=True)


def _lock(file: BinaryIO, part: Path) -> None:
    """Raises DownloadError where another process writes the part, or has just given it its name."""
    busy = DownloadError(f"another process is downloading {part.name.removesuffix('.part')}")
    if sys.platform == "win32":  # opened by two processes, but only one can rename it
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), part.stat()):
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise busy
