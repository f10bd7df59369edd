"""A training killed again and again, once while it writes a checkpoint, ends with the very same weights."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from models.cfcomp.vault import FolderVault, whole_checkpoints
from tests.models.cfcomp.trainings import differing, small
from tests.models.synthesis.conftest import StableDiffusionFolders, stable_diffusion

__all__ = ["stable_diffusion"]  # a fixture
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EVERY = 5
RECIPE = small(
    "earthsynth", trained="unet", ema_decay=0.9, steps=40, checkpoint_every=EVERY, dropped_mask="other"
)


class Life:
    """One process of the training in `out`, from its start to its end or its death."""

    def __init__(self, folders: StableDiffusionFolders, out: Path) -> None:
        out.mkdir(exist_ok=True)
        self.scratch = out / "scratch"
        self.scratch.mkdir(exist_ok=True)
        arguments = [str(folders.base), str(folders.controlnet), str(out), RECIPE.model_dump_json()]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.training_child", *arguments],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"TMPDIR": str(self.scratch), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.begun = 0
        self.steps: list[int] = []

    def follow(self, until: int) -> None:
        """Read on until a step is done, or the process ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, _, rest = line.strip().partition(" ")
            assert word in {"began", "step"}, line
            if word == "began":
                self.begun = int(rest)
                continue
            self.steps.append(int(rest))
            if int(rest) == until:
                return

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
        assert self._process.returncode == -9

    def end(self) -> None:
        self.follow(RECIPE.steps + 1)
        _, errors = self._process.communicate()
        assert self._process.returncode == 0, errors[-3000:]


def test_five_deaths_change_no_weight(stable_diffusion: StableDiffusionFolders, tmp_path: Path) -> None:
    whole = Life(stable_diffusion, tmp_path / "whole")
    whole.end()
    assert whole.steps == list(range(1, 41))

    out, vault = tmp_path / "killed", FolderVault(tmp_path / "killed" / "vault")
    draw = random.Random(7)  # noqa: S311  (it must repeat, not surprise)
    moments = sorted(draw.sample([step for step in range(2, 36) if step % EVERY], 4))
    saved = 0
    for number, moment in enumerate([*moments[:2], None, *moments[2:]]):
        life = Life(stable_diffusion, out)
        if moment is None:
            # While the next checkpoint is being written: its files are in the scratch folder, its marker is nowhere.
            life.follow(saved + EVERY)
            before = whole_checkpoints(vault)
            while not list(life.scratch.glob(f"*/{saved + EVERY:08d}-*/weights.safetensors")):
                assert whole_checkpoints(vault) == before, "it was too quick to be caught"
            life.kill()
            assert whole_checkpoints(vault) == before
        else:
            life.follow(max(moment, saved + 1))
            life.kill()
        assert life.begun == saved, number
        assert life.steps[0] == saved + 1
        newest = [int(name[:8]) for name in whole_checkpoints(vault)]
        saved = max(newest, default=0)
        assert life.steps[-1] - saved <= EVERY, "at most one interval is lost"
        assert len(newest) <= RECIPE.keep_checkpoints
    last = Life(stable_diffusion, out)
    last.end()
    assert last.begun == saved
    assert last.steps[-1] == 40
    ends = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "killed"))
    assert not differing(*ends)
    assert len(list((out / "vault").iterdir())) == RECIPE.keep_checkpoints, (
        "what the dead left is tidied away"
    )
