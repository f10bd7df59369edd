"""`earthsynth preview`: what CF-Comp would compose of a training set, as a sheet of pictures."""

from __future__ import annotations

from pathlib import Path

from models.cfcomp.dataset import CropOptions, TrainingSet
from models.cfcomp.options import CfCompOptions
from models.cfcomp.pairs import read_pairs
from models.cfcomp.preview import preview_sheet, sheet_png
from models.errors import InvalidInput


def run_preview(
    folder: Path, out: Path, *, size: int, seed: int, count: int, batch_size: int, options: CfCompOptions
) -> int:
    """Write a sheet of up to `count` composed pairs of the training set to `out`, a PNG; return how many it shows.

    `size`: side of the samples, pixels. A training with this seed and batch size begins with these pairs.

    Raises:
        InvalidInput: no_pairs, too_many_bad_pairs; no_partners where no two samples could exchange anything.
    """
    report = read_pairs(folder)
    samples = TrainingSet(report, CropOptions(size=size), seed=seed)
    sheet, shown = preview_sheet(
        samples, options, report.frequencies, seed=seed, count=count, batch_size=batch_size
    )
    if not shown:
        raise InvalidInput(
            "No two samples could exchange objects. Allow more overlap, take cross_class, or add pairs that share a "
            "category.",
            code="no_partners",
        )
    out.write_bytes(sheet_png(sheet))
    return shown
