"""How many planted faults the filter catches: `python -m models.rfilter.planted_faults --data DUBAI/val [--made 48]`.

Cuts real pairs into squares, plants each fault in each of them, and prints how many are rejected under `balanced`;
with `--made` also how many pictures of nano, made from the same masks, pass. `docs/rfilter.md` has the numbers.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.categories import CATEGORIES, IGNORE, caption
from models.components import Component, find_components
from models.nano.filter import nano_filter
from models.nano.tiles import Tile, load_tiles
from models.pixel_values import unique_values
from models.rfilter.calibrate import Pair, windows
from models.rfilter.calibration import Calibration, load_calibration
from models.rfilter.duplicates import Seen
from models.rfilter.rules import Policy, Verdict, accepted, judge
from models.rfilter.scorers import Scorers, load_scorers

SIZE = 256  # pixels
SHIFT = SIZE // 4
LEAST_CHANGED = 0.15  # of the pixels must get another category, or a shifted mask is not wrong
OBJECT_SHARES = (0.04, 0.25)  # of the picture, for leaked objects
LEAST_CONTRAST = (
    15.0  # CIELAB distance of the object's mean colour from what it covers, or nothing is to be seen
)
NEUTRALISED = 0.5  # of a leaked object's pixels are 255 in the label


@dataclass(frozen=True, slots=True)
class Case:
    """A picture and a mask that do not belong together. `where` a leaked object lies; `original`: what was copied."""

    image: NDArray[Any]
    mask: NDArray[np.uint8]
    where: NDArray[np.bool_] | None = None
    original: NDArray[np.uint8] | None = None


def shifted_masks(tile: Tile, rng: np.random.Generator) -> list[Pair]:
    """Return the tile's squares, each with the mask from 64 px beside it, if that differs in 15 % of the pixels."""
    height, width = tile.mask.shape
    found = []
    for row in range(0, height - SIZE + 1, SIZE):
        for column in range(0, width - SIZE + 1, SIZE):
            mask = tile.mask[row : row + SIZE, column : column + SIZE]
            for down, right in rng.permutation([(0, SHIFT), (0, -SHIFT), (SHIFT, 0), (-SHIFT, 0)]).tolist():
                y, x = row + down, column + right
                if not (0 <= y <= height - SIZE and 0 <= x <= width - SIZE):
                    continue
                moved = tile.mask[y : y + SIZE, x : x + SIZE]
                if np.mean(moved != mask) >= LEAST_CHANGED:
                    found.append((tile.image[row : row + SIZE, column : column + SIZE], moved))
                    break
    return found


def permuted_mask(mask: NDArray[np.uint8], ids: Sequence[int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the mask with every category of `ids` called by the name of another one."""
    order = rng.permutation(len(ids))
    while (order == np.arange(len(ids))).any():
        order = rng.permutation(len(ids))
    table = np.arange(256, dtype=np.uint8)
    table[list(ids)] = np.array(ids, np.uint8)[order]
    return np.asarray(table[mask], dtype=np.uint8)


def saturated(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture exposed so long that about two thirds of its pixels are white (or were black before)."""
    level = max(1.0, float(np.quantile(image.min(-1), 1 / 3)))
    return np.asarray((image.astype(np.float32) * (255 / level)).clip(0, 255), dtype=np.uint8)


def with_nan(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the picture as float in [0, 1] with a latent cell's worth of NaN (8 x 8 px) somewhere."""
    row, column = rng.integers(0, SIZE - 7, size=2)
    broken = image.astype(np.float32) / np.float32(255)
    broken[row : row + 8, column : column + 8] = np.nan
    return broken


def objects(tiles: Iterable[Tile], category: int) -> list[tuple[Tile, Component]]:
    """Return the category's components that cover 4 % to 25 % of a square and fit into it."""
    smallest, largest = (round(share * SIZE * SIZE) for share in OBJECT_SHARES)
    return [
        (tile, part)
        for tile in tiles
        for part in find_components(tile.mask == category, min_area=smallest)
        if part.area <= largest and max(part.width, part.height) <= SIZE * 3 // 4
    ]


def leak(
    pair: Pair, category: int, found: Sequence[tuple[Tile, Component]], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """Return the picture with an object pasted where the mask has another category, and where the object lies.

    The object keeps 6 px away from its own category and differs visibly from what it covers. None if 200 draws find
    no such place.
    """
    image, mask = pair
    near = cv2.dilate((mask == category).astype(np.uint8), np.ones((13, 13), np.uint8)).astype(np.bool_)
    for _ in range(200 if found else 0):
        tile, part = found[int(rng.integers(len(found)))]
        row, column = (int(rng.integers(0, SIZE - side + 1)) for side in (part.height, part.width))
        box = np.s_[row : row + part.height, column : column + part.width]
        source = tile.image[part.top : part.top + part.height, part.left : part.left + part.width]
        if near[box][part.mask].any() or _contrast(source[part.mask], image[box][part.mask]) < LEAST_CONTRAST:
            continue
        pasted, where = image.copy(), np.zeros(mask.shape, np.bool_)
        pasted[box][part.mask] = source[part.mask]
        where[box] = part.mask
        return pasted, where
    return None


def _contrast(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    means = np.stack([first.mean(0), second.mean(0)])[None].astype(np.float32) / 255
    lab = cv2.cvtColor(means, cv2.COLOR_RGB2LAB)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


def plant(tiles: Sequence[Tile], rng: np.random.Generator) -> dict[str, list[Case]]:
    """Return the cases of each fault; "real" are the squares without one, "duplicate" the same twice."""
    real = [pair for tile in tiles for pair in windows(tile.image, tile.mask, size=SIZE, stride=SIZE)]
    ids = sorted({number for _, mask in real for number in unique_values(mask)} - {0, IGNORE})
    noise = [(image + rng.normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8) for image, _ in real]
    cases: dict[str, list[Case]] = {
        "shifted mask": [Case(*pair) for tile in tiles for pair in shifted_masks(tile, rng)],
        "wrong class": [Case(image, permuted_mask(mask, ids, rng)) for image, mask in real],
        "blank": [Case(np.full_like(image, image.mean()), mask) for image, mask in real],
        "NaN": [Case(with_nan(image, rng), mask) for image, mask in real],
        "saturated": [Case(saturated(image), mask) for image, mask in real],
        "duplicate": [
            Case(copy, mask, original=image) for copy, (image, mask) in zip(noise, real, strict=True)
        ],
    }
    for category in ids:
        found = objects(tiles, category)
        leaked = [leak(pair, category, found, rng) for pair in real]
        name = f"leaked {CATEGORIES[category].name}"
        cases[name] = [
            Case(made[0], pair[1], where=made[1]) for made, pair in zip(leaked, real, strict=True) if made
        ]
    return cases


def judge_case(case: Case, scorers: Scorers, calibration: Calibration) -> tuple[tuple[Verdict, ...], bool]:
    """Return all verdicts under `balanced`, and whether a leaked object is mostly 255 in the label."""
    scored = scorers.score(case.image, case.mask, caption(unique_values(case.mask)), calibration=calibration)
    seen = Seen()
    if case.original is not None:
        seen.add(scorers.fingerprint(case.original), "first")
    verdicts = (*judge(scored.scores, calibration, Policy.BALANCED), seen.check(scored.scores, "second"))
    if case.where is None or scored.ignore is None:
        return verdicts, False
    return verdicts, bool(scored.ignore[case.where].mean() >= NEUTRALISED)


def report_faults(
    cases: Mapping[str, Sequence[Case]], scorers: Scorers, calibration: Calibration
) -> Iterator[str]:
    """Return a table row for each fault: how many were planted, rejected, neutralised, and by which rules."""
    yield "| fault | planted | rejected | or neutralised | by rule |\n|---|---|---|---|---|"
    for name, planted in cases.items():
        rejected, handled, rules = 0, 0, Counter[str]()
        for case in planted:
            verdicts, neutral = judge_case(case, scorers, calibration)
            rules.update(verdict.rule for verdict in verdicts if verdict.passed is False)
            rejected += not accepted(verdicts)
            handled += neutral or not accepted(verdicts)
        count = max(1, len(planted))
        by_rule = ", ".join(f"{rule} {number}" for rule, number in rules.most_common())
        yield f"| {name} | {len(planted)} | {rejected / count:.1%} | {handled / count:.1%} | {by_rule} |"


def report_passes(
    name: str, tried: Iterable[tuple[str, Pair]], scorers: Scorers, calibration: Calibration
) -> Iterator[str]:
    """Return how many pairs, each with its group, pass all rules under each policy, and which rules reject."""
    scored = [
        (group, scorers.score(*pair, caption(unique_values(pair[1])), calibration=calibration).scores)
        for group, pair in tried
    ]
    for policy in (Policy.BALANCED, Policy.STRICT):
        seen, passed, rules = Seen(calibration, policy), 0, Counter[str]()
        for group, scores in scored:
            verdicts = (*judge(scores, calibration, policy), seen.check(scores, group))
            rules.update(verdict.rule for verdict in verdicts if verdict.passed is False)
            if accepted(verdicts):
                passed += 1
                seen.add(scores, group)
        by_rule = ", ".join(f"{rule} {number}" for rule, number in rules.most_common())
        share = passed / len(scored)
        yield f"{name}, {policy.value}: {passed} of {len(scored)} pass ({share:.1%}); rejected by {by_rule}"
    shares = [scores["ignored"] for _, scores in scored]
    yield f"{name}: {np.mean(shares):.1%} of the pixels become 255 by R6"


def make_pictures(tiles: Sequence[Tile], count: int) -> list[tuple[str, Pair]]:
    """Return pictures of nano for `count` squares of the tiles' masks, spread evenly, with its default settings."""
    from models.catalog import nano_card
    from models.sample import Condition
    from models.synthesis.pipeline import load_pipeline
    from models.synthesis.synthesize import synthesize

    squares = [pair[1] for tile in tiles for pair in windows(tile.image, tile.mask, size=SIZE, stride=SIZE)]
    masks = [squares[index] for index in np.linspace(0, len(squares) - 1, count).astype(int)]
    card = nano_card()
    conditions = [Condition(i, mask, caption(unique_values(mask)), seed=i) for i, mask in enumerate(masks)]
    samples = synthesize(
        load_pipeline(card, device="cpu"),
        conditions,
        num_inference_steps=card.defaults.num_inference_steps,
        guidance_scale=card.defaults.guidance_scale,
        controlnet_conditioning_scale=card.defaults.controlnet_conditioning_scale,
        scheduler=card.defaults.scheduler,
    )
    return [(f"mask {sample.condition.index}", (sample.image, sample.condition.mask)) for sample in samples]


def main(arguments: Sequence[str] | None = None) -> None:
    """Plant, judge and print."""
    segmenter, calibration_file = nano_filter()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and masks/ of val")
    parser.add_argument("--segmenter", type=Path, default=segmenter)
    parser.add_argument("--calibration", type=Path, default=calibration_file)
    parser.add_argument("--made", type=int, default=0, help="also judge so many pictures made by nano")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    tiles = load_tiles(options.data)
    scorers = load_scorers(segmenter=options.segmenter, clip=None, device="cpu")
    calibration = load_calibration(options.calibration)
    real = [
        (tile.name, pair) for tile in tiles for pair in windows(tile.image, tile.mask, size=SIZE, stride=SIZE)
    ]
    lines = [*report_passes("real pairs", real, scorers, calibration)]
    if options.made:
        made = make_pictures(tiles, options.made)
        lines += report_passes("pictures of nano", made, scorers, calibration)
    lines += report_faults(plant(tiles, np.random.default_rng(0)), scorers, calibration)
    print("\n".join(lines))  # noqa: T201 - its output is its purpose


if __name__ == "__main__":
    main()
