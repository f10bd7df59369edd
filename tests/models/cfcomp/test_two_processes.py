from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from models.cfcomp.recipe import Recipe
from models.model_card import ModelCard
from tests.models.cfcomp.trainings import Diary, differing, run, small, weights_of
from tests.models.synthesis.conftest import StableDiffusionFolders

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Process:
    """What one of two processes was told, before the training was stopped and after, and its weights at the end."""

    told: dict[str, Any]
    weights: dict[str, Tensor]


def launch(folders: StableDiffusionFolders, recipe: Recipe, out: Path) -> tuple[Process, Process]:
    """Train on CPUs that talk over gloo.

    `--multi_gpu` is how `accelerate launch` is told to start several processes at all; without GPUs they use gloo.
    """
    start = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    start += [
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        "0",
    ]
    arguments = [str(folders.base), str(folders.controlnet), str(out), recipe.model_dump_json()]
    done = subprocess.run(
        [sys.executable, *start, "-m", "tests.models.cfcomp.launched", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    first, second = (
        Process(json.loads((out / f"{rank}.json").read_text()), load_file(out / f"{rank}.safetensors"))
        for rank in (0, 1)
    )
    return first, second


def test_two_processes_train_as_one(
    stable_diffusion: StableDiffusionFolders, toy: ModelCard, tmp_path: Path
) -> None:
    """The same batches in two halves: the same losses, norms and weights, up to the order of sums."""
    recipe = small("earthsynth", trained="unet", ema_decay=0.9, steps=6, gradient_accumulation_steps=2)
    first, second = launch(stable_diffusion, recipe, tmp_path)
    diary = Diary()
    whole = weights_of(run(tmp_path / "whole", recipe, base=toy, diary=diary))

    before, after = first.told["losses"]
    assert first.told["losses"] == second.told["losses"], "a report is about the whole batch in every process"
    assert np.allclose(before, diary.losses[:5], rtol=1e-5)
    assert after[0] == before[4], "it goes on bit for bit"
    assert np.allclose(after, diary.losses[4:], rtol=1e-5)
    norms = [report.grad_norm for report in diary.reports]
    assert np.allclose(first.told["grad_norms"], norms[:5], rtol=1e-4)

    assert [first.told["is_main"], second.told["is_main"]] == [True, False]
    assert first.told["checkpoints"] == [[2, 4], [6]]
    assert second.told["checkpoints"] == [[], []], "the main one alone writes"
    assert first.told["begun"] == second.told["begun"] == [0, 4]

    assert not differing(first.weights, second.weights)
    for name, value in whole.items():
        apart = (value - first.weights[name]).abs().double()
        # Adam divides by a gradient's size: where that is rounding alone, so is the step.
        assert float(apart.median()) < 1e-5, name
        assert float(apart.max()) < 7e-3, name
