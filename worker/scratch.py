"""Folders for what is made on the way, which a killed process leaves behind and the next one removes."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.logs import get_logger

log = get_logger(__name__)

_PREFIX = "earthsynth-scratch-"
_LOCK = ".in-use"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder in the system's place for temporary files (TMPDIR), gone afterwards.

    It is locked meanwhile. Those that nobody holds any more are removed first: after a kill -9 a training leaves a
    checkpoint's size there.
    """
    root = Path(tempfile.gettempdir())
    for left in root.glob(f"{_PREFIX}*"):
        _remove_abandoned(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    fresh = folder / f"{_LOCK}.new"
    with fresh.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh.rename(folder / _LOCK)  # nobody can meet it unlocked
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # it is in use, being made, or another user's
        return
    log.warning("scratch of a dead process removed", folder=folder.name)
