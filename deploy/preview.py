"""`earthsynth preview`: what CF-Comp would compose of a training set, as a sheet of pictures."""

from __future__ import annotations

from pathlib import Path

from models.cfcomp.dataset import CropOptions, FolderPairs, TrainingSet
from models.cfcomp.options import CfCompOptions
from models.cfcomp.pairs import read_pairs
from models.cfcomp.preview import preview_sheet, sheet_png


def run_preview(
    folder: Path, out: Path, *, size: int, seed: int, count: int, batch_size: int, options: CfCompOptions
) -> int:
    """Write a sheet of up to `count` composed pairs of the training set to `out`, a PNG; return how many it shows.

    `size`: side of the samples, pixels. A training with this seed and batch size begins with these pairs.

    Raises:
        InvalidInput: no_pairs, too_many_bad_pairs; no_partners where no two samples could exchange anything.
    """
    report = read_pairs(folder)
    source = FolderPairs(report)
    samples = TrainingSet(source, CropOptions(size=size), seed=seed)
    sheet, shown = preview_sheet(
        samples.epochs(), options, source.frequencies, seed=seed, count=count, batch_size=batch_size
    )
    out.write_bytes(sheet_png(sheet))
    return len(shown)
