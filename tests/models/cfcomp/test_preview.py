from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.cfcomp.composition import Pair, compose, compose_batch
from models.cfcomp.dataset import CropOptions, FolderPairs, TrainingSet
from models.cfcomp.options import CfCompOptions
from models.cfcomp.pairs import read_pairs
from models.cfcomp.preview import ComposedPair, draw_sheet, preview_sheet, sheet_png
from models.cfcomp.recipe import Recipe
from models.cfcomp.selection import select_pairs, step_rng
from models.cfcomp.steps import PairSteps
from models.errors import InvalidInput
from tests.models.cfcomp.samples import triple, with_boxes, write_pair


def test_a_row_shows_both_and_their_composites() -> None:
    first = triple(with_boxes((8, 0, 0, 80, 80), side=160), (200, 0, 0))
    second = triple(with_boxes((8, 80, 80, 80, 80), side=160), (0, 0, 200))
    sheet = draw_sheet([(Pair(0, 1, 8, 0.0, 100.0, 2.0), (first, second, *compose(first, second, 8)))])
    top = 42  # below two lines of words and a gap
    middles = [
        [tuple(sheet[top + y, 6 + column * 328 + x].tolist()) for y, x in ((40, 40), (120, 120), (40, 120))]
        for column in range(4)
    ]
    red, blue = (200, 0, 0), (0, 0, 200)
    assert middles == [[red, red, red], [blue, blue, blue], [red, blue, red], [red, blue, blue]]
    building = np.array([226, 60, 40])  # its colour, half over the picture
    shown = sheet[top + 120, 6 + 2 * 328 + 162 + 120]
    assert np.abs(shown - (building + np.array(blue)) / 2).max() <= 1


def test_a_preview_shows_the_first_steps_of_a_training(tmp_path: Path) -> None:
    for number in range(6):
        write_pair(
            tmp_path,
            str(number),
            with_boxes((8, 5 * number, 0, 8, 8), (4, 5 * number, 20, 8, 8), side=40),
            seed=number,
        )
    source = FolderPairs(read_pairs(tmp_path))
    whole = CropOptions(size=40, orientations=False, single_category=0)
    training_set = TrainingSet(source, whole, seed=1)
    options = CfCompOptions(probability=0.7)

    def preview(count: int, batch_size: int) -> tuple[NDArray[np.uint8], list[ComposedPair]]:
        samples, shares = training_set.epochs(), source.frequencies
        return preview_sheet(samples, options, shares, seed=1, count=count, batch_size=batch_size)

    sheet, shown = preview(24, 20)
    assert len(shown) > 16, "of several steps"
    assert sheet.shape == (len(shown) * 202 + 6, 4 * 328 + 6, 3)
    expected = []
    for step in range(8):  # a batch of 20 is matched among its first 16 samples, and among the other 4
        batch = training_set.batch(step, 20)
        for group, start in enumerate((0, 16)):
            members = batch[start : start + 16]
            pairs = select_pairs(members, options, step_rng(1, step, group), source.frequencies)
            composed = compose_batch(members, pairs)
            for pair in pairs:
                expected.append((step, start + pair.first, start + pair.second, composed[pair.second]))
    found = [(one.step, one.pair.first, one.pair.second, one.samples[3]) for one in shown]
    assert [one[:3] for one in found] == [one[:3] for one in expected[: len(found)]]
    for one, wanted in zip(found, expected, strict=False):
        assert np.array_equal(one[3].picture, wanted[3].picture)
        assert np.array_equal(one[3].mask, wanted[3].mask)
    fewer, _ = preview(3, 20)
    assert np.array_equal(fewer[:-6], sheet[: 3 * 202])
    with Image.open(io.BytesIO(sheet_png(sheet))) as image:
        assert np.array_equal(np.asarray(image), sheet)


def test_these_are_the_samples_that_a_training_sees(tmp_path: Path) -> None:
    for number in range(6):
        write_pair(
            tmp_path,
            str(number),
            with_boxes((8, 8 * number, 0, 12, 12), (4, 8 * number, 30, 12, 12), side=64),
            seed=number,
        )
    source = FolderPairs(read_pairs(tmp_path))
    recipe = Recipe(resolution=64, batch_size=20, seed=4, cf_comp=CfCompOptions(probability=0.6))
    samples = TrainingSet(source, recipe.crops, seed=4)
    _, shown = preview_sheet(
        samples.epochs(), recipe.cf_comp, source.frequencies, seed=4, count=24, batch_size=20, max_batches=3
    )
    steps = list(PairSteps(source, recipe).steps(0, 3, range(20)))
    assert [2 * sum(one.step == step for one in shown) for step in range(3)] == [
        batch.composed for batch in steps
    ]
    assert len(shown) > 3
    for one in shown:
        batch = steps[one.step]
        for place, composite in zip((one.pair.first, one.pair.second), one.samples[2:], strict=True):
            assert np.array_equal(batch.pictures[place], composite.picture)
            assert np.array_equal(batch.masks[place], composite.mask)


def test_a_set_without_partners_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "0", with_boxes((8, 0, 0, 8, 8)))
    write_pair(tmp_path, "1", with_boxes((25, 0, 0, 8, 8)))
    source = FolderPairs(read_pairs(tmp_path))
    training_set = TrainingSet(source, CropOptions(size=32, single_category=0), seed=1)
    with pytest.raises(InvalidInput) as refused:
        preview_sheet(training_set.epochs(), CfCompOptions(), source.frequencies, seed=1, batch_size=2)
    assert refused.value.code == "no_partners"
