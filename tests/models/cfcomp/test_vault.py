from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.cfcomp.vault import MARKER, FolderVault, load_checkpoint, save_checkpoint, whole_checkpoints
from models.errors import NotFound, TrainingFailed
from tests.models.cfcomp.full_disk import LARGE_BYTES
from tests.models.cfcomp.trainings import DyingVault, StoppedError


class Place:
    """A vault in a folder, with what a training does with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "vault"
        self.scratch = folder / "scratch"
        self.vault = FolderVault(self.folder)
        self.warnings: list[str] = []

    def save(self, step: int, *, keep: int = 2, recipe: str = "recipe", text: str | None = None) -> Path:
        def write(folder: Path) -> None:
            (folder / "weights").write_text(text or f"weights of {step}")
            (folder / "state").write_bytes(b"")

        return self.folder / save_checkpoint(self.vault, step, recipe, write, scratch=self.scratch, keep=keep)

    def load(self, recipe: str = "recipe") -> tuple[int, str] | None:
        found = load_checkpoint(self.vault, recipe, scratch=self.scratch, warn=self.warnings.append)
        return None if found is None else (found[0], (found[1] / "weights").read_text())

    @property
    def steps(self) -> list[int]:
        return [int(name[:8]) for name in whole_checkpoints(self.vault)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_newest_checkpoint_comes_back(place: Place) -> None:
    assert place.load() is None
    for step in (5, 10, 100):
        place.save(step)
    assert place.load() == (100, "weights of 100")
    assert place.warnings == []
    assert not list(place.scratch.glob("*/complete.json.new"))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_as_many_are_kept_as_asked(place: Place, keep: int) -> None:
    for step in range(1, 6):
        place.save(step, keep=keep)
        assert place.steps == list(range(max(1, step - keep + 1), step + 1))
        assert len(list(place.folder.iterdir())) == len(place.steps)


def test_the_marker_goes_last(tmp_path: Path) -> None:
    """Death after any call of the vault leaves the checkpoint before, or the new one, and never half of one."""
    for writes in range(3):
        place = Place(tmp_path / str(writes))
        place.save(1)
        place.vault = DyingVault(place.folder, writes)
        with pytest.raises(StoppedError):
            place.save(2)
        place.vault = FolderVault(place.folder)
        assert place.load() == (1, "weights of 1"), writes
        assert place.warnings == []
        place.save(3, keep=1)
        assert len(list(place.folder.iterdir())) == 1, "what was left unfinished is tidied away"


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda folder: os.truncate(folder / "weights", 5),
    "changed": lambda folder: (folder / "weights").write_text("weights of 9"),
    "longer": lambda folder: (folder / "weights").write_text("weights of 2 "),
    "missing": lambda folder: (folder / "weights").unlink(),
    "empty marker": lambda folder: (folder / MARKER).write_bytes(b""),
    "half a marker": lambda folder: os.truncate(folder / MARKER, 40),
    "another marker": lambda folder: (folder / MARKER).write_text('{"step": 2}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    place: Place, damage: Callable[[Path], object]
) -> None:
    place.save(1)
    damaged = place.save(2)
    damage(damaged)
    assert place.load() == (1, "weights of 1")
    assert len(place.warnings) == 1
    assert damaged.name in place.warnings[0]


def test_a_missing_marker_is_no_checkpoint(place: Place) -> None:
    place.save(1)
    (place.save(2) / MARKER).unlink()
    assert place.load() == (1, "weights of 1")
    assert place.warnings == []


def test_all_damaged_is_none(place: Place) -> None:
    for step in (1, 2):
        os.truncate(place.save(step) / "weights", 0)
    assert place.load() is None
    assert len(place.warnings) == 2


@pytest.mark.parametrize("keep", [1, 2])
def test_checkpoints_after_a_damaged_one_are_kept(place: Place, keep: int) -> None:
    """The run goes on from an earlier step: what it saves then must not count as older than the damaged one."""
    place.save(1, keep=2)
    os.truncate(place.save(4, keep=2) / "weights", 0)
    assert place.load() == (1, "weights of 1")
    for step in (2, 3, 4, 5, 6):
        place.save(step, keep=keep)
        place.warnings.clear()
        assert place.load() == (step, f"weights of {step}")
        assert len(place.warnings) <= 1
    assert place.load() == (6, "weights of 6")
    assert len(list(place.folder.iterdir())) == keep


def test_the_same_step_saved_again_wins(tmp_path: Path) -> None:
    """Whatever the two random names are: with one checkpoint kept, it is the one just saved."""
    for number in range(12):
        place = Place(tmp_path / str(number))
        os.truncate(place.save(4, keep=1) / "weights", 0)
        assert place.load() is None
        place.save(4, keep=1, text="again")
        assert place.load() == (4, "again")


def test_another_recipe_s_checkpoint_is_refused(place: Place) -> None:
    place.save(3, recipe="one")
    with pytest.raises(TrainingFailed) as refused:
        place.load("other")
    assert refused.value.code == "checkpoint_of_another_recipe"
    assert place.load("one") == (3, "weights of 3")


def test_other_files_in_the_folder_are_left_alone(place: Place) -> None:
    place.folder.mkdir(parents=True)
    (place.folder / "zz-notes.txt").write_text("mine")
    for name in ("logs", "0-logs"):
        (place.folder / name).mkdir()
        (place.folder / name / MARKER).write_text("{}")
    for step in (1, 2, 3):
        place.save(step, keep=1)
    assert place.load() == (3, "weights of 3")
    assert (place.folder / "zz-notes.txt").read_text() == "mine"
    assert (place.folder / "logs" / MARKER).exists()
    assert (place.folder / "0-logs" / MARKER).exists()


def test_a_folder_vault_knows_only_what_it_was_given(place: Place, tmp_path: Path) -> None:
    assert list(place.vault.names()) == []
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    place.vault.put("00000001-00000000/weights", file)
    place.vault.create("00000001-00000000/complete.json", b"{}")
    assert list(place.vault.names()) == ["00000001-00000000/complete.json", "00000001-00000000/weights"]
    place.vault.fetch("00000001-00000000/weights", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"abc"
    with pytest.raises(NotFound):
        place.vault.fetch("00000001-00000000/other", tmp_path / "back")
    place.vault.delete("00000001-00000000")
    assert list(place.vault.names()) == []


def test_a_write_that_fails_keeps_the_last_one_and_says_so(place: Place) -> None:
    def write(folder: Path) -> None:
        (folder / "weights").write_text("half")
        (folder / "absent" / "state").write_text("")

    with pytest.raises(TrainingFailed) as refused:
        save_checkpoint(place.vault, 1, "recipe", write, scratch=place.scratch, keep=2)
    assert refused.value.code == "checkpoint_not_saved"
    assert "there is none yet" in refused.value.message
    place.save(1)
    with pytest.raises(TrainingFailed) as refused:
        save_checkpoint(place.vault, 2, "recipe", write, scratch=place.scratch, keep=2)
    assert "of step 1, is intact" in refused.value.message
    assert not list(place.scratch.iterdir())
    assert place.load() == (1, "weights of 1")


def can_mount() -> bool:
    unshare = shutil.which("unshare")
    mount = [unshare or "", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return unshare is not None and subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("which", ["vault", "scratch"])
def test_a_full_disk(tmp_path: Path, which: str) -> None:
    """A real one where this user may mount a small disk, else a limit on the size of files."""
    child = [sys.executable, "-m", "tests.models.cfcomp.full_disk", str(tmp_path), which]
    is_small = can_mount()
    if is_small:
        mount = 'mount -t tmpfs -o size=2m none "$1" && shift && exec "$@"'
        child = ["unshare", "-m", "sh", "-c", mount, "-", str(tmp_path), *child]
    else:
        child = ["prlimit", f"--fsize={LARGE_BYTES // 2}", *child]
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        child,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"TMPDIR": str(elsewhere), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["refused"]["code"] == "checkpoint_not_saved"
    assert "The checkpoint of step 2 could not be written" in report["refused"]["message"]
    assert "step 1, is intact" in report["refused"]["message"]
    if is_small:
        assert "the disk is full" in report["refused"]["message"]
    assert report["left"] == []
    assert report["whole"] == ["00000001"]
    assert report["folders"] == 1
    assert (report["step"], report["value"], report["warnings"]) == (3, [7.0], [])
