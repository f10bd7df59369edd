"""Memory stays flat: a sample more costs a few numbers, not a picture or a line."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.export.export import export_dataset
from models.export.options import ExportFormat, ExportOptions
from models.export.sample import ExportSample
from tests.models.export.dataset import INFO, SPLITS, sample
from tests.pictures import png

COUNT, TRACED, SIDE = 2000, 300, 24


class Enough(BaseException):
    """Ends the export: readers load what they read, and are measured elsewhere."""


def small_samples() -> Iterator[ExportSample]:
    ids = np.zeros((SIDE, SIDE), np.uint8)
    ids[4:12, 4:12] = 25
    ids[6:8, 6:8] = 0
    picture = png(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    template = sample(
        0,
        width=SIDE,
        height=SIDE,
        image_sha256=hashlib.sha256(picture).hexdigest(),
        read_image=lambda: picture,
        read_label=ids.copy,
        provenance={"scores": {f"R{rule}": rule / 7 for rule in range(8)}, "note": "x" * 1000},
    )
    for index in range(COUNT):
        yield dataclasses.replace(template, index=index, split=SPLITS[index % len(SPLITS)])


@pytest.mark.parametrize("format_", [ExportFormat.COCO, ExportFormat.WEBDATASET])
def test_the_last_samples_of_two_thousand_add_next_to_nothing(tmp_path: Path, format_: ExportFormat) -> None:
    held = []

    def weigh(done: int) -> None:
        if done == COUNT - TRACED:
            tracemalloc.start()  # not before: it makes everything slow
        elif done == COUNT:
            held.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
            raise Enough

    options = ExportOptions(format=format_, shard_samples=COUNT)
    with pytest.raises(Enough):
        export_dataset(small_samples, tmp_path / "export", options, INFO, on_sample=weigh)
    assert held[0] < 600 * TRACED  # bytes; the texts of a sample alone are 1,500
