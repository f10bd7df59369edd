"""Large files over HTTP: continued where a connection broke, checked by sha256, and only then given their name."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import httpx
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.dataset_client import PATIENCE_SECONDS, Away, patiently
from deploy.exit_codes import ExitCode, Unsuccessful

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_RUN_OUT = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """`url` is presigned and runs out; the other two say which bytes they are."""

    url: str
    bytes: int
    sha256: str


def download(
    find: Callable[[], RemoteFile],
    path: Path,
    console: Console,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> bool:
    """Fetch the file to `path`; False when it was there already, whole.

    `find` names the file with a fresh URL, and is asked again when the URL has run out. Until the sha256 is right the
    bytes lie in `{path}.part`, from where a later call goes on. The server may be away for `patience_seconds`.

    Raises:
        Unsuccessful: REFUSED: the bytes are not those named, or another process fetches the same; UNREACHABLE.
    """
    wanted = find()
    if _is(path, wanted):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("ab") as file, _bar(console) as bar:
        _lock(file, part)
        if not console.is_terminal:
            _say(console, f"downloading {path.name}, {decimal(wanted.bytes)}")
        with _Transfer(file, find, wanted, bar) as transfer:
            for _ in range(2):  # the second time, what was kept of an earlier call is not trusted
                old = transfer.size
                while transfer.size < wanted.bytes:
                    patiently(transfer.go_on, seconds=patience_seconds, say=lambda line: _say(console, line))
                file.flush()
                os.fsync(file.fileno())
                if _is(part, wanted):
                    part.replace(path)
                    return True
                transfer.start_anew()
                if not old:
                    break
                _say(console, f"what was kept of {path.name} is of another file; starting anew")
    part.unlink()
    raise _refused(f"what came for {path.name} does not have the sha256 that the API names")


class _Transfer:
    """One file on its way; its part of the disk is open for appending."""

    def __init__(
        self, file: BinaryIO, find: Callable[[], RemoteFile], wanted: RemoteFile, bar: Progress
    ) -> None:
        self._file, self._find, self._wanted = file, find, wanted
        self._url, self._url_is_fresh = wanted.url, True
        self._client = httpx.Client(timeout=httpx.Timeout(60, connect=5))
        self._bar, self._task = bar, bar.add_task("downloading", total=wanted.bytes)
        self._furthest = 0
        if self.size > wanted.bytes:
            self.start_anew()

    def __enter__(self) -> _Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def start_anew(self) -> None:
        self._file.truncate(0)
        self._furthest = 0

    def go_on(self) -> None:
        """Receive what is missing, or some of it. Raises Away when nothing came, Unsuccessful for a wrong file."""
        have = self.size
        self._furthest = max(self._furthest, have)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        broken: httpx.TransportError | None = None
        url = self._url
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                if self._may_be_written(response, have):
                    self._write(response)
        except httpx.TransportError as error:
            broken = error
        if self._url != url:
            self.go_on()
            return
        self._file.flush()
        if self.size <= self._furthest:
            what = broken or "the answer ended too early"
            raise Away(
                ExitCode.UNREACHABLE, f"error: the storage does not send the file: {what}."
            ) from broken

    def _may_be_written(self, response: httpx.Response, have: int) -> bool:
        """Whether the answer's body is the missing part; a fresh URL is taken where the old one has run out."""
        status = response.status_code
        if status == HTTPStatus.PARTIAL_CONTENT:
            found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if found is None or (int(found[1]), int(found[2])) != (have, self._wanted.bytes):
                raise _refused("the storage sent another part than was asked for, or the file has changed")
        elif status == HTTPStatus.OK:
            length = response.headers.get("Content-Length", "")
            if length.isdecimal() and int(length) != self._wanted.bytes:
                raise _refused(f"the file has {length} bytes and not {self._wanted.bytes}, as the API says")
            self._file.truncate(0)  # no server must honour Range
        elif status in _RUN_OUT and not self._url_is_fresh:
            self._renew()
            return False
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Away(ExitCode.UNREACHABLE, f"error: the storage answers {status}.")
        else:
            raise _refused(f"the storage answers {status} for the file")
        self._url_is_fresh = False
        return True

    def _renew(self) -> None:
        found = self._find()
        if (found.bytes, found.sha256) != (self._wanted.bytes, self._wanted.sha256):
            raise _refused("the file has been replaced by another one during the download")
        self._url, self._url_is_fresh = found.url, True

    def _write(self, response: httpx.Response) -> None:
        size = self.size
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > self._wanted.bytes:
                raise _refused(
                    f"the storage sends more than the {self._wanted.bytes} bytes that the API names"
                )
            self._file.write(chunk)
            self._bar.update(self._task, completed=size)


def _is(path: Path, wanted: RemoteFile) -> bool:
    if not path.is_file() or path.stat().st_size != wanted.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256


def _lock(file: BinaryIO, part: Path) -> None:
    """Raises Unsuccessful (REFUSED) where another process writes the part, or has just given it its name."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), part.stat()):
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise _refused(f"another process is downloading {part.name.removesuffix('.part')}")


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _refused(sentence: str) -> Unsuccessful:
    return Unsuccessful(ExitCode.REFUSED, f"error: {sentence}")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
