"""One run: a training, then pictures of the held-out masks and the held-out loss, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.cfcomp.ablation.held_out import held_out_losses
from models.cfcomp.dataset import PairSource
from models.cfcomp.listener import StepReport
from models.cfcomp.recipe import Recipe
from models.cfcomp.steps import PairSteps
from models.cfcomp.trainer import train
from models.cfcomp.triple import caption_of
from models.cfcomp.validation import Validation
from models.cfcomp.vault import FolderVault
from models.conditions import derive_seed
from models.evaluation.crops import Crops
from models.model_card import ModelCard
from models.sample import Condition
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from models.synthesis.synthesize import synthesize_by_default

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """What a model makes of the held-out masks: `pictures` (N, S, S, 3) uint8, and its `losses` (M,) there.

    `composed` is the share of samples that were composites, `seconds` the wall clock of the training; both since it
    was last started.
    """

    pictures: NDArray[np.uint8]
    losses: NDArray[np.float64]
    composed: float
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """`scenes` give masks to make pictures of, `windows` pairs of the training's resolution for the loss."""

    scenes: Crops
    windows: Crops

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.scenes.digest}{self.windows.digest}".encode()).hexdigest()


def trained_run(
    name: str, base: ModelCard, pairs: PairSource, data: str, recipe: Recipe, held_out: HeldOut, *, out: Path
) -> Made:
    """Return what the base makes after a training by `recipe`, from its file under `out` if it is there.

    A training that was stopped goes on from its last checkpoint; when the run is kept, its checkpoints are deleted.
    `data` names the training set.
    """
    key = _key(base, held_out, data, recipe.digest, str(recipe.steps))
    label = f"{name}-{recipe.seed}-{key}"

    def made() -> Made:
        listener = _Log(label)
        vault = FolderVault(out / "checkpoints" / label)
        steps = PairSteps(pairs, recipe)
        began = time.monotonic()
        trained = train(base, steps, recipe, vault=vault, listener=listener, data=data, device="cpu")
        seconds = time.monotonic() - began
        return _look(trained.loaded, held_out, recipe.seed, listener.composed / recipe.batch_size, seconds)

    found = _kept(out / "runs" / f"{label}.npz", made)
    shutil.rmtree(out / "checkpoints" / label, ignore_errors=True)
    return found


def untrained_run(name: str, base: ModelCard, held_out: HeldOut, *, seed: int, out: Path) -> Made:
    """Return what the base makes as it is, with the picture seeds of a training's `seed`."""
    path = out / "runs" / f"{name}-{seed}-{_key(base, held_out)}.npz"
    return _kept(path, lambda: _look(load_pipeline(base, device="cpu"), held_out, seed, 0.0, 0.0))


def _key(base: ModelCard, held_out: HeldOut, *more: str) -> str:
    """A hash of everything a run depends on: a change of any of it is another run."""
    depends_on = [base.name, base.version, base.digest, held_out.digest, *more]
    return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:12]


def _kept(path: Path, make: Callable[[], Made]) -> Made:
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            np.savez(
                file,
                pictures=made.pictures,
                losses=made.losses,
                composed=made.composed,
                seconds=made.seconds,
            )
        fresh.replace(path)
        log.info("%s: held-out loss %.4f, training %.0f s", path.stem, made.losses.mean(), made.seconds)
    with np.load(path) as kept:
        return Made(kept["pictures"], kept["losses"], float(kept["composed"]), float(kept["seconds"]))


def _look(loaded: LoadedPipeline, held_out: HeldOut, seed: int, composed: float, seconds: float) -> Made:
    """Make a picture of every scene's mask, with the model's own settings; all arms of a seed have the same noise."""
    conditions = [
        Condition(index, mask, caption_of(mask), derive_seed(seed, index))
        for index, mask in enumerate(held_out.scenes.labels)
    ]
    pictures = np.stack([sample.image for sample in synthesize_by_default(loaded, conditions)])
    losses = held_out_losses(loaded, held_out.windows.images, held_out.windows.labels)
    return Made(pictures, losses, composed, seconds)


class _Log:
    """Writes a line now and then; `composed` is the mean number of composites of a step."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._counts: list[int] = []

    @property
    def composed(self) -> float:
        return float(np.mean(self._counts)) if self._counts else 0.0

    def began(self, step: int, steps: int) -> None:
        log.info("%s: steps %d to %d", self._label, step + 1, steps)

    def stepped(self, report: StepReport) -> None:
        self._counts.append(report.composed)
        if report.step % 25 == 0:
            log.info(
                "%s: step %d, loss %.4f, %.1f pictures/s",
                self._label,
                report.step,
                report.whole,
                report.images_per_second,
            )

    def saved(self, step: int, name: str) -> None:
        log.info("%s: step %d kept as %s", self._label, step, name)

    def validated(self, found: Validation) -> None:
        """No validation is asked for: pictures are judged at the end."""

    def warned(self, message: str) -> None:
        log.warning("%s: %s", self._label, message)

    def working(self) -> None:
        """Nobody waits."""
