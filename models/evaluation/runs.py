"""Training runs kept on disk, so that a stopped evaluation goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.arms import RECIPES, Arm, Source
from models.evaluation.batches import draw_batches
from models.evaluation.crops import Crops
from models.evaluation.scores import class_iou
from models.evaluation.training import tile_confusions, train_segmenter
from models.nano.tiles import Tile

log = logging.getLogger(__name__)


def run_arm(
    arm: Arm,
    sources: Mapping[Source, Crops],
    test: Sequence[Tile],
    *,
    categories: Sequence[int],
    weights: NDArray[np.float64],
    seed: int,
    steps: int,
    half: int,
    window: int,
    folder: Path,
) -> NDArray[np.int64]:
    """Return pixel counts (tiles, true, found) of one run, from its file in `folder` if it is there.

    The file's name has a hash of everything the run depends on (crops, test tiles, weights, numbers): a change of
    any of it is another run.
    """
    recipe = RECIPES[arm]
    used = [sources[source].digest for source in (recipe.first, recipe.second) if source is not None]
    tested = [hashlib.sha256(tile.image.tobytes() + tile.mask.tobytes()).hexdigest() for tile in test]
    numbers = [list(categories), weights.tolist(), seed, steps, half, window, recipe.augmented]
    depends_on = hashlib.sha256(json.dumps([used, tested, numbers]).encode()).hexdigest()
    path = folder / f"{arm}-{seed}-{depends_on[:12]}.json"
    if path.exists():
        return np.array(json.loads(path.read_text(encoding="utf-8"))["confusions"], dtype=np.int64)

    began = time.process_time()
    batches = draw_batches(recipe, sources, seed=seed, steps=steps, half=half, size=window)
    network = train_segmenter(batches, categories, weights=weights, steps=steps, seed=seed)
    confusions = tile_confusions(network, test, categories)
    seconds = time.process_time() - began
    log.info(
        "%s, seed %d: mIoU %.3f in %.0f CPU s",
        arm,
        seed,
        np.nanmean(class_iou(confusions.sum(0))),
        seconds,
    )
    folder.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    record = {"cpu_seconds": round(seconds, 1), "confusions": confusions.tolist()}
    fresh.write_text(json.dumps(record) + "\n", encoding="utf-8")
    fresh.replace(path)
    return confusions
