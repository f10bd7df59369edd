"""Usefulness of synthetic pictures: `python -m models.evaluation --data DUBAI --out runs/evaluation`.

Reads `DUBAI/train` (real crops, and masks for the synthetic pictures) and `DUBAI/val` (test only), writes
evaluation.json, evaluation.md and evaluation.png. Stopped, it goes on from what is in `--out`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from models.catalog import catalog
from models.evaluation.arms import Arm
from models.evaluation.figure import draw_differences
from models.evaluation.report import as_json, as_markdown, compare, resolution
from models.evaluation.usefulness import Filter, measure
from models.nano.filter import nano_filter
from models.nano.tiles import load_tiles
from models.rfilter.calibration import load_calibration
from models.rfilter.rules import Policy
from models.rfilter.scorers import Scorers, load_scorers
from models.synthesis.pipeline import describe, load_pipeline

log = logging.getLogger(__name__)


def _parser() -> argparse.ArgumentParser:
    segmenter, calibration = nano_filter()
    parser = argparse.ArgumentParser(prog="python -m models.evaluation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--out", type=Path, required=True, help="folder for results; a stopped run goes on")
    parser.add_argument("--arms", type=Arm, nargs="+", default=list(Arm), choices=list(Arm))
    parser.add_argument("--seeds", type=int, default=3, help="runs of each arm (default 3)")
    parser.add_argument("--steps", type=int, default=400, help="optimiser steps of each run (default 400)")
    parser.add_argument("--pictures", type=int, default=60, help="conditions for each seed (default 60)")
    parser.add_argument(
        "--real-share",
        type=float,
        nargs="+",
        default=[0.1],
        help="of the real crops (default 0.1); several give several tables",
    )
    parser.add_argument(
        "--mask-share", type=float, help="crops whose masks are used (default: the largest real share)"
    )
    parser.add_argument("--batch", type=int, default=16, help="windows in a batch, even (default 16)")
    parser.add_argument("--side", type=int, help="of crops and pictures, pixels (default: the model's own)")
    parser.add_argument("--window", type=int, default=128, help="pixels, a multiple of 16 (default 128)")
    parser.add_argument("--model", default="nano", help="nano, or earthsynth with --base and --controlnet")
    parser.add_argument("--base", default="", help="folder or hub id, for earthsynth")
    parser.add_argument("--controlnet", default="", help="folder or hub id, for earthsynth")
    parser.add_argument("--device", default="auto", help="for making pictures: auto, cpu or cuda")
    parser.add_argument("--segmenter", default=segmenter, help="the filter's (default: nano's)")
    parser.add_argument("--clip", help="the filter's CLIP, folder or hub id (default: none)")
    parser.add_argument(
        "--calibration", type=Path, default=calibration, help="the filter's (default: nano's)"
    )
    parser.add_argument("--policy", type=Policy, default=Policy.BALANCED, choices=list(Policy))
    parser.add_argument("--max-tries", type=int, default=4, help="tries of each condition (default 4)")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure from the command line."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    places = {key: value for key in ("base", "controlnet") if (value := getattr(options, key))}
    card = catalog([options.model], **places)[options.model]
    loaded = load_pipeline(card, device=options.device, threads=options.threads)
    scorers, calibration = Scorers(), None
    if options.policy is not Policy.OFF:
        scorers = load_scorers(segmenter=options.segmenter, clip=options.clip, device="cpu")
        calibration = load_calibration(options.calibration)
    chosen = Filter(scorers, calibration, options.policy, options.max_tries)
    side = options.side or card.native_width
    mask_share = options.mask_share or max(options.real_share)
    measured = measure(
        load_tiles(options.data / "train"),
        load_tiles(options.data / "val"),
        loaded,
        chosen,
        arms=options.arms,
        seeds=options.seeds,
        steps=options.steps,
        pictures=options.pictures,
        real_shares=options.real_share,
        mask_share=mask_share,
        side=side,
        half=options.batch // 2,
        window=options.window,
        out=options.out,
    )
    findings = {
        share: compare(confusions, measured.categories) for share, confusions in measured.confusions.items()
    }
    settings = {
        "model": describe(loaded),
        "seeds": options.seeds,
        "steps": options.steps,
        "pictures": options.pictures,
        "mask_share": mask_share,
        "batch": options.batch,
        "side": side,
        "window": options.window,
        "filter": scorers.segmenter.digest if scorers.segmenter else None,
        "calibration": hashlib.sha256(options.calibration.read_bytes()).hexdigest() if calibration else None,
        "policy": options.policy,
        "max_tries": options.max_tries,
    }
    result = json.dumps(as_json(findings, measured, settings), indent=2)
    text = "\n".join(
        f"### {100 * share:g} % of the real crops\n\n{as_markdown(found)}\n{resolution(found)}\n"
        for share, found in findings.items()
    )
    (options.out / "evaluation.json").write_text(result + "\n", encoding="utf-8")
    (options.out / "evaluation.md").write_text(text, encoding="utf-8")
    draw_differences(findings, options.out / "evaluation.png")
    log.info("\n%s", text)


if __name__ == "__main__":
    main()
