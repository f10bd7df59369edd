"""Zips on their way to the service: a file as it is, or a folder, packed into a temporary file first."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, BinaryIO, cast

from earthsynth._parts import Progress
from earthsynth._requests import Upload
from earthsynth.errors import RequestError

# deflating them again gains nothing
_PACKED = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"})
_JUNK = frozenset({"thumbs.db", "desktop.ini"})
_ZIP = "application/zip"

Wanted = Callable[[Path], bool]
ZipSource = str | os.PathLike[str] | bytes | BinaryIO
"""A zip's path, bytes or open file, or a folder's path."""


def everything(path: Path) -> bool:  # noqa: ARG001
    return True


def zip_folder(folder: Path, into: IO[bytes], wanted: Wanted = everything) -> int:
    """Writes every file under the folder into a zip, in order of their paths; the number of them.

    Hidden files, what operating systems leave and what is not `wanted` (relative to the folder) are left out; of
    links, what they lead to is packed. Raises RequestError for a name that is not UTF-8.
    """
    files = 0
    with zipfile.ZipFile(into, "w", strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if _left_behind(relative) or not path.is_file() or not wanted(relative):
                continue
            how = zipfile.ZIP_STORED if path.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
            try:
                archive.write(path, relative.as_posix(), compress_type=how)
            except UnicodeEncodeError as error:
                raise RequestError(
                    f"{relative.as_posix()!a}: the file's name is not UTF-8; rename it"
                ) from error
            files += 1
    return files


def _left_behind(relative: Path) -> bool:
    parts = relative.parts
    return any(part.startswith(".") for part in parts) or "__MACOSX" in parts or parts[-1].lower() in _JUNK


@contextmanager
def zip_upload(source: ZipSource, wanted: Wanted = everything) -> Iterator[Upload]:
    """The file part `file`: the zip at a path, a folder packed into one, a zip's bytes or an open one.

    Raises RequestError: there is no such file, or nothing in the folder.
    """
    if isinstance(source, bytes):
        with tempfile.TemporaryFile(prefix="earthsynth-upload-") as spool:
            spool.write(source)
            yield _spooled("upload.zip", spool)
        return
    if not isinstance(source, str | os.PathLike):
        name = getattr(source, "name", None)
        yield Upload(
            "file", Path(name).name if isinstance(name, str) else "upload.zip", _ZIP, lambda: _again(source)
        )
        return
    path = Path(source)
    if path.is_file():
        yield Upload("file", path.name, _ZIP, lambda: path.open("rb"))
    elif path.is_dir():
        with tempfile.TemporaryFile(prefix="earthsynth-upload-") as spool:
            if not zip_folder(path, spool, wanted):
                raise RequestError(f"{path}: there is no file in this folder")
            yield _spooled(f"{path.resolve().name}.zip", spool)
    else:
        raise RequestError(f"{path}: there is no such file or folder")


def _again(file: BinaryIO) -> BinaryIO:
    """The caller's file from its beginning; closing it is theirs."""
    file.seek(0)
    return cast(BinaryIO, _Borrowed(file))


def watched(upload: Upload, progress: Progress | None) -> Upload:
    """The same upload, which tells how far it has been read."""
    if progress is None:
        return upload
    return replace(upload, open=lambda: cast(BinaryIO, _WatchedFile(upload.open(), progress)))


class _Borrowed:
    """What httpx asks of a file that it sends; it stays open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """Not ours to close."""


class _WatchedFile(_Borrowed):
    """A file of ours that is read from its beginning to its end, once."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        super().__init__(file)
        self._progress = progress
        self._size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        found = super().read(size)
        self._progress(self._file.tell(), self._size)
        return found

    def close(self) -> None:
        self._file.close()


def _spooled(name: str, spool: IO[bytes]) -> Upload:
    def open_again() -> BinaryIO:
        found = os.fdopen(os.dup(spool.fileno()), "rb")
        found.seek(0)
        return cast(BinaryIO, found)

    spool.flush()
    return Upload("file", name, _ZIP, open_again)
