"""Scratch folders: gone afterwards, and after a kill -9 gone with the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from worker.scratch import scratch_folder

_CHILD = """
import sys
from worker.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "checkpoint").write_bytes(b"large")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_it_is_empty_and_goes(tmp_path: Path) -> None:
    with scratch_folder() as folder:
        assert [path.name for path in folder.iterdir()] == [".in-use"]
        (folder / "model").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_keeps_its_own_and_a_killed_ones_goes(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    theirs = Path(child.stdout.readline().strip())
    with scratch_folder():
        assert (theirs / "checkpoint").read_bytes() == b"large"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert theirs.exists()
    with scratch_folder() as ours:
        assert list(tmp_path.iterdir()) == [ours]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "earthsynth-scratch-without-lock").mkdir()
    (tmp_path / "other").mkdir()
    with scratch_folder():
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"earthsynth-scratch-without-lock", "other"}
