"""Unpacking: whole, once, and never outside its folder."""

from __future__ import annotations

import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from earthsynth import UnsafeArchive
from earthsynth.unpacking import unpack


def archive(tmp_path: Path, *entries: zipfile.ZipInfo | str) -> Path:
    path = tmp_path / "a.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as out:
        warnings.simplefilter("ignore", UserWarning)  # of a name twice, which is the point
        for number, entry in enumerate(entries):
            out.writestr(entry, f"body {number}")
    return path


def link(name: str) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name)
    found.create_system, found.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return found


def test_files_and_folders_once(tmp_path: Path) -> None:
    path, folder = archive(tmp_path, "README.md", "train/", "train/images/0.png"), tmp_path / "a"
    (tmp_path / "a.part").mkdir()
    (tmp_path / "a.part" / "left").write_text("by a broken-off unpacking")
    assert unpack(path, folder)
    found = {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*.*")}
    assert found == {"README.md": "body 0", "train/images/0.png": "body 2"}
    assert not (tmp_path / "a.part").exists()
    (folder / "README.md").write_text("mine")
    assert not unpack(path, folder)
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (["good.txt", "../evil.txt"], "evil.txt"),
        (["/evil.txt"], "absolute"),
        (["a\\..\\evil.txt"], "backslash"),
        ([link("evil")], "link"),
        (["twice.txt", "twice.txt"], "twice"),
        (["a/../../b"], r"a \.\."),
        (["./a"], r"a \.\."),
        (["a//b"], "empty part"),
        (["C:/a"], "absolute"),
        (["a\x07"], "control character"),
        (["x" * 300], "too long"),
    ],
)
def test_what_leads_outside_is_refused_before_anything_is_written(
    tmp_path: Path, entries: list[zipfile.ZipInfo | str], said: str
) -> None:
    path = archive(tmp_path, *entries)
    with pytest.raises(UnsafeArchive, match=said):
        unpack(path, tmp_path / "a")
    assert [found.name for found in tmp_path.iterdir()] == ["a.zip"]


def test_a_damaged_archive_gets_no_folder(tmp_path: Path) -> None:
    path = archive(tmp_path, "a.txt")
    path.write_bytes(path.read_bytes().replace(b"body 0", b"b0dy 0"))
    with pytest.raises(UnsafeArchive, match="CRC"):
        unpack(path, tmp_path / "a")
    assert not (tmp_path / "a").exists()
