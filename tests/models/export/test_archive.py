"""Archives: complete, repeatable, streamed."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest

from models.export.archive import write_archive

FILES = {
    "classes.txt": b"ship\n" * 500,
    "images/train/000001.png": b"\x89PNG" * 100,
    "images/train/000000.png": b"\x89PNG" * 200,
    "train/train-000000.tar": b"\0" * 2048,
    "empty.txt": b"",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "export"


def test_the_zip_holds_the_files_sorted_and_without_time(folder: Path, tmp_path: Path) -> None:
    written = write_archive(folder, tmp_path / "export.zip")
    data = (tmp_path / "export.zip").read_bytes()
    assert (written.bytes, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(FILES)
        for entry in archive.infolist():
            assert archive.read(entry) == FILES[entry.filename]
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            packed = entry.compress_type == zipfile.ZIP_DEFLATED
            assert packed is entry.filename.endswith(".txt")
    assert len(data) < sum(map(len, FILES.values()))


def test_equal_files_give_equal_bytes_whatever_their_times(folder: Path, tmp_path: Path) -> None:
    first = write_archive(folder, tmp_path / "one.zip")
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    (folder / "classes.txt").chmod(0o600)
    assert write_archive(folder, tmp_path / "two.zip") == first


def test_a_pipe_gets_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """A stream that can only be written."""

        content = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.content += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    pipe = Pipe()
    written = write_archive(folder, pipe)  # type: ignore[arg-type]
    write_archive(folder, tmp_path / "file.zip")
    assert pipe.content == (tmp_path / "file.zip").read_bytes()
    assert written.bytes == len(pipe.content)
