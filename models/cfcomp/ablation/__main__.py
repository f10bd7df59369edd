"""The ablation: `python -m models.cfcomp.ablation --data DUBAI --out OUT`.

Trains nano on with and without composition (p) and local loss (lambda), from `DUBAI/train` alone, makes pictures of
masks of `DUBAI/val`, judges them, and writes ablation.json, ablation.md and ablation.png. Stopped, it goes on from
what is in OUT.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from models.card_file import read_card
from models.catalog import NANO_CHECKPOINT
from models.cfcomp.ablation.arms import ARMS, START
from models.cfcomp.ablation.figure import draw_figure
from models.cfcomp.ablation.findings import Findings, judge_runs
from models.cfcomp.ablation.report import as_json, as_markdown
from models.cfcomp.ablation.runs import HeldOut, Made, trained_run, untrained_run
from models.cfcomp.dataset import FolderPairs
from models.cfcomp.pairs import read_pairs
from models.cfcomp.recipe import Precision, recipe_for
from models.evaluation.crops import check_disjoint, cut_crops
from models.nano.evaluate import prepare_judge
from models.nano.filter import nano_filter
from models.nano.tiles import load_tiles
from models.rfilter.segmenters import load_segmenter

log = logging.getLogger(__name__)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.cfcomp.ablation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--out", type=Path, required=True, help="folder for results; a stopped run goes on")
    parser.add_argument(
        "--base", type=Path, default=NANO_CHECKPOINT, help="folder of the model that every arm starts from"
    )
    parser.add_argument("--steps", type=int, default=100, help="optimiser steps of each run (default 100)")
    parser.add_argument("--seeds", type=_seeds, default=(0, 1, 2), help="comma-separated (default 0,1,2)")
    parser.add_argument("--batch-size", type=int, default=16, help="samples of a step (default 16)")
    parser.add_argument("--resolution", type=int, default=128, help="of samples, pixels (default 128)")
    parser.add_argument(
        "--single-category",
        type=float,
        default=0.3,
        help="share of single-category views, the only samples that lambda treats differently (default 0.3)",
    )
    parser.add_argument(
        "--precision", type=Precision, default=Precision.BF16, choices=list(Precision), help="(default bf16)"
    )
    parser.add_argument("--size", type=int, default=256, help="of judged pictures, pixels (default 256)")
    parser.add_argument("--every", type=int, default=3, help="use each n-th val crop (default 3)")
    parser.add_argument("--judge-minutes", type=float, default=10.0, help="of the judge's training")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure from the command line."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    folder: Path = options.data / "train"
    train_tiles, val_tiles = load_tiles(folder), load_tiles(options.data / "val")
    check_disjoint(train_tiles, val_tiles)
    real = cut_crops(val_tiles, options.size)
    scenes = real.take(range(0, len(real), options.every))
    windows = cut_crops(val_tiles, options.resolution)
    held_out = HeldOut(scenes, windows.take(range(0, len(windows), options.every)))
    common = recipe_for(
        "nano",
        {
            "resolution": options.resolution,
            "steps": options.steps,
            "batch_size": options.batch_size,
            "single_category": options.single_category,
            "mixed_precision": options.precision,
        },
    )
    base = replace(read_card(options.base), filter_of="nano")
    pairs = FolderPairs(read_pairs(folder))
    data = cut_crops(train_tiles, options.size).digest

    runs: dict[str, list[Made]] = {name: [] for name in (START, *(arm.name for arm in ARMS))}
    for seed in options.seeds:  # a seed's arms one after the other: what a stopped command has is whole seeds
        runs[START].append(untrained_run(START, base, held_out, seed=seed, out=options.out))
        for arm in ARMS:
            recipe = arm.recipe(common, seed)
            runs[arm.name].append(trained_run(arm.name, base, pairs, data, recipe, held_out, out=options.out))

    judge = prepare_judge(options.out / "judge", train_tiles, minutes=options.judge_minutes)
    segmenter = load_segmenter(nano_filter()[0], "cpu")
    elsewhere = cut_crops(train_tiles, options.size)
    findings = judge_runs(
        runs,
        held_out,
        real=real,
        elsewhere=elsewhere.take(range(0, len(elsewhere), -(-len(elsewhere) // len(real)))),
        judge=judge,
        segmenter=segmenter,
    )
    settings = {
        "base": f"{base.name}@{base.version}",
        "recipe": json.loads(common.model_dump_json(exclude={"seed", "cf_comp", "local_loss_weight"})),
        "seeds": options.seeds,
        "pictures": len(scenes),
        "size": options.size,
        "windows": len(held_out.windows),
        "features": segmenter.digest,
    }
    _write(options.out, findings, settings)
    columns = {"real": scenes.images, **{name: some[0].pictures for name, some in runs.items()}}
    draw_figure(scenes.labels, scenes.groups, columns).save(options.out / "ablation.png", optimize=True)


def _write(out: Path, findings: Findings, settings: Mapping[str, object]) -> None:
    text = as_markdown(findings)
    document = json.dumps(as_json(findings, settings), indent=2)
    (out / "ablation.json").write_text(document + "\n", encoding="utf-8")
    (out / "ablation.md").write_text(text, encoding="utf-8")
    log.info("\n%s", text)


if __name__ == "__main__":
    main()
