"""One process of a training: `accelerate launch … -m tests.models.cfcomp.launched BASE CONTROLNET OUT RECIPE`.

It is stopped after the last step but one, and goes on. Writes what it was told, and its weights, to OUT.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from models.catalog import earthsynth_card
from models.cfcomp.recipe import Recipe
from tests.models.cfcomp.trainings import Diary, StoppedError, run, weights_of

if __name__ == "__main__":
    base, controlnet, out, asked = sys.argv[1:]
    recipe = Recipe.model_validate_json(asked)
    card = replace(earthsynth_card(base, controlnet), sha256={})
    stopped = Diary(recipe.steps - 1)
    with suppress(StoppedError):
        run(Path(out) / "vault", recipe, base=card, diary=stopped)
    rest = Diary()
    trained = run(Path(out) / "vault", recipe, base=card, diary=rest)
    told = {
        "losses": [stopped.losses, rest.losses],
        "grad_norms": [report.grad_norm for report in stopped.reports],
        "checkpoints": [stopped.checkpoints, rest.checkpoints],
        "begun": [stopped.begun, rest.begun],
        "is_main": trained.is_main,
    }
    rank = os.environ["RANK"]
    (Path(out) / f"{rank}.json").write_text(json.dumps(told))
    weights = {name: value.contiguous() for name, value in weights_of(trained).items()}
    save_file(weights, Path(out) / f"{rank}.safetensors")
