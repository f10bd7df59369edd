from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from models.cfcomp.composition import Pair, compose
from models.cfcomp.dataset import CropOptions, TrainingSet
from models.cfcomp.options import CfCompOptions
from models.cfcomp.pairs import read_pairs
from models.cfcomp.preview import draw_sheet, preview_sheet, sheet_png
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


def test_a_preview_of_a_training_set(tmp_path: Path) -> None:
    for number in range(6):
        write_pair(
            tmp_path,
            str(number),
            with_boxes((8, 5 * number, 0, 8, 8), (4, 5 * number, 20, 8, 8), side=40),
            seed=number,
        )
    report = read_pairs(tmp_path)
    whole = CropOptions(size=40, orientations=False, single_category=0)
    training_set = TrainingSet(report, whole, seed=1)
    options = CfCompOptions(probability=1)
    sheet, shown = preview_sheet(training_set, options, report.frequencies, seed=1, count=3, batch_size=6)
    assert shown == 3
    assert sheet.shape == (3 * 202 + 6, 4 * 328 + 6, 3)
    again, _ = preview_sheet(training_set, options, report.frequencies, seed=1, count=3, batch_size=6)
    assert np.array_equal(sheet, again)
    with Image.open(io.BytesIO(sheet_png(sheet))) as image:
        assert np.array_equal(np.asarray(image), sheet)


def test_a_set_without_partners_has_an_empty_sheet(tmp_path: Path) -> None:
    write_pair(tmp_path, "0", with_boxes((8, 0, 0, 8, 8)))
    write_pair(tmp_path, "1", with_boxes((25, 0, 0, 8, 8)))
    report = read_pairs(tmp_path)
    training_set = TrainingSet(report, CropOptions(size=32, single_category=0), seed=1)
    sheet, shown = preview_sheet(
        training_set, CfCompOptions(), report.frequencies, seed=1, batch_size=2, max_batches=2
    )
    assert shown == 0
    assert (sheet == 255).all()
