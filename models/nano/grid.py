"""The grid of the model card: `python -m models.nano.grid --data DUBAI/val --out models/nano/grid.png`.

Sixteen masks in category colours, each beside the picture made from it, with a legend.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.categories import CATEGORIES
from models.nano.evaluate import HERE, cut_tiles
from models.nano.export import CARD_FILE, CATEGORY_IDS
from models.nano.sampling import load_checkpoint, sample_pictures
from models.nano.tiles import class_entropy, load_tiles

_COLUMNS, _PAIRS = 4, 16
_CELL = 168  # pixels: a mask or a picture in the grid
_GAP, _HEADER = 6, 30


def varied_masks(masks: NDArray[np.uint8], names: Sequence[str], count: int) -> NDArray[np.uint8]:
    """Return `count` masks with many classes, at most one of each tile, in the order of the tiles."""
    best: dict[str, int] = {}
    for index, name in enumerate(names):
        if name not in best or class_entropy(masks[index]) > class_entropy(masks[best[name]]):
            best[name] = index
    kept = sorted(best.values(), key=lambda i: class_entropy(masks[i]), reverse=True)[:count]
    return masks[sorted(kept)]


def draw_grid(masks: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> Image.Image:
    """Return a labelled grid of pairs from masks (N, H, W) of ids and pictures (N, H, W, 3)."""
    palette = np.array([c.color for c in CATEGORIES], dtype=np.uint8)
    width, rows = 2 * _CELL + _GAP, -(-len(masks) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * width + _GAP, _HEADER + rows * (_CELL + _GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    x = _GAP
    for category in (CATEGORIES[i] for i in CATEGORY_IDS):
        draw.rectangle((x, 7, x + 16, 23), fill=category.color)
        draw.text((x + 22, 6), category.name, fill="black", font=font)
        x += 46 + int(draw.textlength(category.name, font=font))
    draw.text((x, 6), "mask (black: anything) | picture made from it", fill="black", font=font)
    for index, (mask, picture) in enumerate(zip(masks, pictures, strict=True)):
        left = _GAP + index % _COLUMNS * width
        top = _HEADER + index // _COLUMNS * (_CELL + _GAP)
        small_mask = cv2.resize(palette[mask], (_CELL, _CELL), interpolation=cv2.INTER_NEAREST)
        small_picture = cv2.resize(picture, (_CELL, _CELL), interpolation=cv2.INTER_AREA)
        sheet.paste(Image.fromarray(small_mask.astype(np.uint8)), (left, top))
        sheet.paste(Image.fromarray(small_picture.astype(np.uint8)), (left + _CELL, top))
    return sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Sample and write the grid from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    _, masks, names = cut_tiles(load_tiles(options.data))
    masks = varied_masks(masks, names, _PAIRS)
    defaults = json.loads((options.checkpoint / CARD_FILE).read_text(encoding="utf-8"))["defaults"]
    pictures = sample_pictures(
        load_checkpoint(options.checkpoint),
        masks,
        range(len(masks)),
        steps=defaults["num_inference_steps"],
        guidance=defaults["guidance_scale"],
        conditioning_scale=defaults["controlnet_conditioning_scale"],
    )
    draw_grid(masks, pictures).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
