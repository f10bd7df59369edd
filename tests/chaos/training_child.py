"""A training that is to be killed: `python -m tests.chaos.training_child BASE CONTROLNET OUT RECIPE`.

Prints a line "began N" and one for each step, "step N"; the finished weights become OUT/weights.safetensors.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from models.catalog import earthsynth_card
from models.cfcomp.listener import StepReport
from models.cfcomp.recipe import Recipe
from tests.models.cfcomp.trainings import Diary, run, weights_of


class Speaking(Diary):
    def began(self, step: int, steps: int) -> None:
        say(f"began {step}")

    def stepped(self, report: StepReport) -> None:
        say(f"step {report.step}")

    def warned(self, message: str) -> None:
        say(f"warned {message}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    base, controlnet, out, recipe = sys.argv[1:]
    trained = run(
        Path(out) / "vault",
        Recipe.model_validate_json(recipe),
        base=replace(earthsynth_card(base, controlnet), sha256={}),
        diary=Speaking(),
    )
    found = {name: value.contiguous() for name, value in weights_of(trained).items()}
    save_file(found, Path(out) / "weights.safetensors")
