"""`earthsynth train --local`: the trainer in the foreground, with a bar; goes on from its own checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.exit_codes import invalid
from models.card_file import read_card
from models.catalog import catalog
from models.cfcomp.board import Board
from models.cfcomp.dataset import FolderPairs
from models.cfcomp.listener import StepReport
from models.cfcomp.model_folder import card_of, write_model
from models.cfcomp.pairs import MAX_BAD_SHARE, MaskReading, read_pairs
from models.cfcomp.recipe import Recipe, recipe_for
from models.cfcomp.shards import Shard, ShardReport, read_shards
from models.cfcomp.steps import PairSteps, ShardSteps, StepSource
from models.cfcomp.trainer import train
from models.cfcomp.validation import Validation, conditions_of
from models.cfcomp.vault import FolderVault
from models.errors import InvalidInput, UnknownModel
from models.masks import MAX_SIDE
from models.model_card import ModelCard
from models.nano.filter import nano_filter
from models.rfilter.segmenters import load_segmenter
from models.sample import Condition
from worker.mask_reading import MaskReading as MaskOptions
from worker.training_sets import mask_reading

_LOOK = 4  # bad pairs that are shown


def run_training(
    data: Path,
    asked: Mapping[str, Any],
    reading: Mapping[str, Any],
    *,
    base: str,
    name: str,
    out: Path,
    device: str,
) -> Path | None:
    """Train on a folder and write the model to `out/model`; return it, or None in all processes but the main one.

    `out` also holds `checkpoints/`, from which the same command goes on, `tensorboard/` and `validation-….png`.

    Raises:
        InvalidInput, TrainingFailed, ModelUnavailable, UnknownModel: one sentence each.
        Unsuccessful: a field of the recipe is wrong.
    """
    is_main = os.environ.get("RANK", "0") == "0"
    console = Console(stderr=True, quiet=not is_main)
    card = _base(base)
    recipe = _recipe(card, asked)
    if recipe.validation.mask_ids:
        raise InvalidInput("validation.mask_ids are masks of a service; here the first masks are taken.")
    if (out / "model").exists():
        raise InvalidInput(
            f"{out / 'model'} is there already; choose another --out.", code="model_name_in_use"
        )
    size = min(card.native_width, card.native_height)
    options = dict(reading)
    most_bad = options.pop("max_bad_share", MAX_BAD_SHARE)
    how = mask_reading(MaskOptions.model_validate({"ignore": True} | options), MAX_SIDE)
    samples, conditions, counts = _data(data, recipe, how, size, console, max_bad_share=most_bad)
    segmenter = load_segmenter(nano_filter()[0], "cpu") if card.filter_of == "nano" else None
    out.mkdir(parents=True, exist_ok=True)
    with _shown(console, out, is_main=is_main) as listener:
        trained = train(
            card,
            samples,
            recipe,
            vault=FolderVault(out / "checkpoints"),
            listener=listener,
            conditions=conditions,
            segmenter=segmenter,
            data=str(data.resolve()),
            device=device,
        )
    if not trained.is_main:
        return None
    made = card_of(card, name=name, version="1", category_ids=counts.keys(), counts=counts)
    write_model(trained, made, recipe, out / "model")
    return out / "model"


def _recipe(card: ModelCard, asked: Mapping[str, Any]) -> Recipe:
    """Raises Unsuccessful (USAGE) with a line for each wrong field."""
    try:
        return recipe_for(card.family, dict(asked))
    except ValidationError as error:
        raise invalid("the recipe is not valid", error) from error


def _base(base: str) -> ModelCard:
    if Path(base).is_dir():
        card = read_card(Path(base))
        return replace(card, filter_of="nano") if card.name == "nano" else card
    cards = catalog(["nano", "earthsynth"])
    name = base.partition("@")[0]
    if name not in cards or base not in (name, f"{name}@{cards[name].version}"):
        raise UnknownModel(f"--base {base[:60]} is neither a folder nor one of nano, earthsynth.")
    return cards[name]


def _data(
    data: Path,
    recipe: Recipe,
    reading: MaskReading,
    size: int,
    console: Console,
    *,
    max_bad_share: float,
) -> tuple[StepSource, list[Condition], dict[int, int]]:
    """The steps, what validations make pictures of (`size` pixels), and how many pairs have each category."""
    plan = recipe.validation
    masks: list[tuple[NDArray[np.uint8], str]] = []
    tars = sorted(data.glob("*.tar"))
    if tars:
        shards = [Shard(path.name, lambda path=path: path.open("rb")) for path in tars]  # type: ignore[misc]
        counts: dict[int, int] = {}
        report = ShardReport()
        for pair in read_shards(shards, report, reading=reading, max_bad_share=max_bad_share):
            if len(masks) < plan.pictures:
                masks.append((pair.mask, pair.text))
            for number in set(pair.mask.ravel().tolist()) - {0, 255}:
                counts[number] = counts.get(number, 0) + 1
        frequencies = {number: count / report.good for number, count in counts.items()}
        refused, good = report.refused, report.good
        samples: StepSource = ShardSteps(shards, recipe, frequencies, reading=reading)
    else:
        found = read_pairs(data, reading=reading, max_bad_share=max_bad_share)
        pairs = FolderPairs(found, reading)
        masks = [(pair.mask, pair.text) for pair in map(pairs.read, islice(range(len(pairs)), plan.pictures))]
        counts = {category.id: category.pairs for category in found.categories}
        refused, good = list(found.refused), len(pairs)
        samples = PairSteps(pairs, recipe)
    console.print(f"{good} pairs, {len(refused)} left out", markup=False, highlight=False)
    for bad in refused[:_LOOK]:
        console.print(f"left out {bad.name}: {bad.message} [{bad.code}]", markup=False, highlight=False)
    return samples, conditions_of(masks, plan, size), counts


@contextmanager
def _shown(console: Console, out: Path, *, is_main: bool) -> Iterator[_Bar]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not is_main) as bar:
        shown = _Bar(bar, out, is_main=is_main)
        yield shown
    shown.close()


class _Bar:
    """Shows a training on the terminal, and writes TensorBoard's file and the validations' sheets."""

    def __init__(self, bar: Progress, out: Path, *, is_main: bool) -> None:
        self._bar, self._out, self._is_main = bar, out, is_main
        self._board: Board | None = None
        self._task = bar.add_task("training", total=None, text="")

    def began(self, step: int, steps: int) -> None:
        self._bar.update(self._task, total=steps, completed=step)
        if self._is_main:
            self._board = Board(self._out / "tensorboard", after=step)
        if step:
            self._bar.console.print(f"going on after step {step}", highlight=False)

    def stepped(self, report: StepReport) -> None:
        text = f"loss {report.whole:.4f}, objects {report.local:.4f}, {report.images_per_second:.1f} images/s"
        self._bar.update(self._task, completed=report.step, text=text)
        if self._board is not None:
            self._board.add_step(report)

    def saved(self, step: int, name: str) -> None:
        self._bar.console.print(f"checkpoint {name} of step {step}", highlight=False)

    def validated(self, found: Validation) -> None:
        path = self._out / f"validation-{found.step:08d}.png"
        Image.fromarray(found.sheet).save(path)
        agreement = "" if found.agreement is None else f", mask agreement {found.agreement:.3f}"
        self._bar.console.print(f"{path}{agreement}", highlight=False)
        if self._board is not None:
            self._board.add_validation(found)

    def warned(self, message: str) -> None:
        self._bar.console.print(f"warning: {message}", highlight=False)

    def working(self) -> None:
        return

    def close(self) -> None:
        """Write TensorBoard's file to its end."""
        if self._board is not None:
            self._board.close()
