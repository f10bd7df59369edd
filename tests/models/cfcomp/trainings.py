"""Small trainings: pairs made from the real masks in tests/assets, and one call that trains on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.catalog import nano_card
from models.cfcomp.listener import StepReport
from models.cfcomp.recipe import Recipe, recipe_for
from models.cfcomp.steps import PairSteps, StepSource
from models.cfcomp.trainer import Trained, train
from models.cfcomp.triple import Triple, caption_of
from models.cfcomp.validation import Validation
from models.cfcomp.vault import FolderVault, Vault
from models.model_card import ModelCard
from models.rfilter.segmenters import Segmenter
from models.sample import Condition

ASSETS = Path(__file__).parents[2] / "assets"
# Colours that no ground has, so that no model knows them: 0 anything, then the ids of tests/assets.
COLORS = {
    0: (20, 20, 20),
    1: (230, 60, 200),
    4: (40, 230, 230),
    5: (250, 120, 0),
    6: (120, 0, 250),
    8: (90, 250, 40),
}


class MadePairs:
    """Pairs in memory: real masks of Dubai, each category in one colour with some grain."""

    def __init__(
        self, count: int = 8, side: int = 96, *, categories: Sequence[int] = (1, 4, 5, 6, 8)
    ) -> None:
        tiles = [np.asarray(Image.open(path)) for path in sorted(ASSETS.glob("dubai_*.png"))]
        places = [(top, left) for top in (0, 256 - side) for left in (0, 256 - side)]
        self._pairs = []
        for number in range(count):
            tile, (top, left) = tiles[number % 3], places[number // 3 % 4]
            mask = tile[top : top + side, left : left + side]
            mask = np.where(np.isin(mask, categories), mask, 0).astype(np.uint8)
            self._pairs.append(Triple(f"made-{number}", painted(mask, number), mask, caption_of(mask)))
        self.frequencies: Mapping[int, float] = {
            category: found
            for category in categories
            if (found := float(np.mean([(pair.mask == category).any() for pair in self._pairs]))) > 0
        }

    def __len__(self) -> int:
        return len(self._pairs)

    def read(self, number: int) -> Triple:
        return self._pairs[number]


def painted(mask: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) in which every category has its colour, give or take 12."""
    table = np.zeros((256, 3))
    for category, color in COLORS.items():
        table[category] = color
    grain = np.random.default_rng(seed).integers(-12, 13, (*mask.shape, 3))
    return np.clip(table[mask] + grain, 0, 255).astype(np.uint8)


class StoppedError(Exception):
    """What a listener or a vault here raises to end a training."""


class DyingVault(FolderVault):
    """Raises StoppedError in place of any write after so many."""

    def __init__(self, folder: Path, writes: int) -> None:
        super().__init__(folder)
        self._left = writes

    def put(self, name: str, file: Path) -> None:
        self._spend()
        super().put(name, file)

    def create(self, name: str, body: bytes) -> None:
        self._spend()
        super().create(name, body)

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise StoppedError


class Diary:
    """A listener that keeps all it is told, and ends the training after `stop_after` steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.begun: int | None = None
        self.reports: list[StepReport] = []
        self.checkpoints: list[int] = []
        self.validations: list[Validation] = []
        self.warnings: list[str] = []
        self.signs = 0
        self._stop_after = stop_after

    @property
    def losses(self) -> list[tuple[float, float]]:
        return [(report.whole, report.local) for report in self.reports]

    def began(self, step: int, steps: int) -> None:
        self.begun = step

    def stepped(self, report: StepReport) -> None:
        self.reports.append(report)
        if report.step == self._stop_after:
            raise StoppedError

    def saved(self, step: int, name: str) -> None:
        self.checkpoints.append(step)

    def validated(self, found: Validation) -> None:
        self.validations.append(found)

    def warned(self, message: str) -> None:
        self.warnings.append(message)

    def working(self) -> None:
        self.signs += 1


def small(family: str = "nano", **changes: object) -> Recipe:
    """A recipe of few small steps, in which everything happens: exchanges, dropped prompts, single categories."""
    plain = {
        "resolution": 64,
        "batch_size": 4,
        "steps": 6,
        "checkpoint_every": 2,
        "warmup_steps": 2,
        "learning_rate": 1e-3,
        "prompt_dropout": 0.3,
        "mixed_precision": "no",
    }
    return recipe_for(family, plain | changes)


def run(
    vault: Vault | Path,
    recipe: Recipe,
    *,
    base: ModelCard | None = None,
    diary: Diary | None = None,
    pairs: MadePairs | None = None,
    samples: StepSource | None = None,
    conditions: Sequence[Condition] = (),
    segmenter: Segmenter | None = None,
    data: str = "made",
) -> Trained:
    """Train on a CPU, nano unless another base is given."""
    torch.set_num_threads(1)
    return train(
        base or nano_card(),
        samples or steps_of(pairs or MadePairs(), recipe),
        recipe,
        vault=FolderVault(vault) if isinstance(vault, Path) else vault,
        listener=diary or Diary(),
        conditions=conditions,
        segmenter=segmenter,
        data=data,
        device="cpu",
    )


def steps_of(pairs: MadePairs, recipe: Recipe) -> PairSteps:
    return PairSteps(pairs, recipe)


def weights_of(trained: Trained) -> dict[str, Tensor]:
    """Return a copy of every weight of UNet, ControlNet, text encoder and autoencoder, by part and name."""
    pipe = trained.loaded.pipe
    return {
        f"{part}.{name}": value.detach().clone()
        for part in ("unet", "controlnet", "text_encoder", "vae")
        for name, value in getattr(pipe, part).state_dict().items()
    }


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> set[str]:
    """Return the names of the weights that are not the same bits in both."""
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}
