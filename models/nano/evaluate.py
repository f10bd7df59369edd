"""How good a checkpoint is: `python -m models.nano.evaluate --data DUBAI [--work runs/nano-judge]`.

Reads `DUBAI/train` for the judge and the memorisation check and `DUBAI/val` for masks, prints a table and writes
`metrics.json` beside this file. Mask consistency is the share of the way from floor (pictures against other
pictures' masks) to ceiling (real pictures against their own masks).
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.categories import CATEGORIES
from models.nano.budget import Budget
from models.nano.export import CARD_FILE, CATEGORY_IDS
from models.nano.judge import Segmenter, class_iou, confusion, judge_images, train_judge
from models.nano.memorisation import nearest_distances
from models.nano.sampling import load_checkpoint, sample_pictures
from models.nano.tiles import Tile, load_tiles

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
_SIZE = 256  # pixels


def cut_tiles(tiles: Sequence[Tile]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]:
    """Cut tiles into whole 256 px squares without overlap: pictures, masks and the tile each is from."""
    images, masks, names = [], [], []
    for tile in tiles:
        for row in range(0, tile.mask.shape[0] - _SIZE + 1, _SIZE):
            for column in range(0, tile.mask.shape[1] - _SIZE + 1, _SIZE):
                images.append(tile.image[row : row + _SIZE, column : column + _SIZE])
                masks.append(tile.mask[row : row + _SIZE, column : column + _SIZE])
                names.append(tile.name)
    return np.stack(images), np.stack(masks), names


def other_masks(masks: NDArray[np.uint8], names: Sequence[str], seed: int = 0) -> NDArray[np.uint8]:
    """Return the masks in an order in which none keeps its place or meets a mask of its own tile."""
    rng = np.random.default_rng(seed)
    for _ in range(1000):
        order = rng.permutation(len(masks))
        if all(names[i] != names[j] for i, j in enumerate(order)):
            return masks[order]
        clashes = [i for i, j in enumerate(order) if names[i] == names[j]]
        for i in clashes:
            order = _swap_clash(order, i, names, rng)
        if all(names[i] != names[j] for i, j in enumerate(order)):
            return masks[order]
    raise ValueError("masks of one tile cannot be shuffled among themselves: more tiles are needed")


def _swap_clash(
    order: NDArray[np.int64], place: int, names: Sequence[str], rng: np.random.Generator
) -> NDArray[np.int64]:
    for other in rng.permutation(len(order)):
        if names[order[other]] != names[place] and names[order[place]] != names[other]:
            order[[place, other]] = order[[other, place]]
            break
    return order


def consistency(
    judge: Segmenter,
    synthetic: NDArray[np.uint8],
    real: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    names: Sequence[str],
) -> dict[str, object]:
    """Return mIoU and class IoU of synthetic pictures, of real ones (ceiling), and of shuffled masks (floor)."""
    on_synthetic = judge_images(judge, synthetic)
    rows = {
        "synthetic": class_iou(confusion(on_synthetic, masks)),
        "ceiling": class_iou(confusion(judge_images(judge, real), masks)),
        "floor": class_iou(confusion(on_synthetic, other_masks(masks, names))),
    }
    mean = {row: float(np.nanmean(values)) for row, values in rows.items()}
    return {
        "pictures": len(masks),
        "miou": {row: round(value, 4) for row, value in mean.items()},
        "share_of_the_way": round((mean["synthetic"] - mean["floor"]) / (mean["ceiling"] - mean["floor"]), 4),
        "class_iou": {
            row: {CATEGORIES[i].name: round(float(v), 4) for i, v in zip(CATEGORY_IDS, values, strict=True)}
            for row, values in rows.items()
        },
    }


def prepare_judge(work: Path, tiles: Sequence[Tile], *, minutes: float) -> Segmenter:
    """Return the judge under `work/judge.pt`, trained first if it is not there."""
    path = work / "judge.pt"
    if not path.exists():
        torch.manual_seed(1)
        work.mkdir(parents=True, exist_ok=True)
        torch.save(train_judge(tiles, Budget(minutes)).state_dict(), path)
    judge = Segmenter()
    judge.load_state_dict(torch.load(path, weights_only=True))
    judge.eval()
    torch.nn.utils.convert_conv2d_weight_memory_format(judge, torch.channels_last)
    return judge


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge a checkpoint from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--work", type=Path, default=Path("runs/nano-judge"))
    parser.add_argument("--metrics", type=Path, default=HERE / "metrics.json")
    parser.add_argument("--judge-minutes", type=float, default=10.0)
    parser.add_argument("--every", type=int, default=1, help="use each n-th mask only, for a quick look")
    parser.add_argument("--steps", type=int, help="default: the checkpoint's own")
    parser.add_argument("--guidance", type=float, help="default: the checkpoint's own")
    parser.add_argument("--conditioning-scale", type=float, help="default: the checkpoint's own")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)

    train = load_tiles(options.data / "train")
    judge = prepare_judge(options.work, train, minutes=options.judge_minutes)
    images, masks, names = cut_tiles(load_tiles(options.data / "val"))
    images, masks, names = images[:: options.every], masks[:: options.every], names[:: options.every]
    defaults = json.loads((options.checkpoint / CARD_FILE).read_text(encoding="utf-8"))["defaults"]
    settings = {
        "steps": options.steps or defaults["num_inference_steps"],
        "guidance": options.guidance or defaults["guidance_scale"],
        "conditioning_scale": options.conditioning_scale or defaults["controlnet_conditioning_scale"],
    }
    start = time.monotonic()
    synthetic = sample_pictures(load_checkpoint(options.checkpoint), masks, range(len(masks)), **settings)
    seconds = (time.monotonic() - start) / len(masks)

    metrics = {
        "settings": settings,
        "seconds_per_picture": round(seconds, 2),
        **consistency(judge, synthetic, images, masks, names),
        "memorisation": {
            "synthetic": nearest_distances(synthetic, train),
            "real val": nearest_distances(images, train),
        },
    }
    options.metrics.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    log.info("%s", json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
