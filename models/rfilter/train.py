"""The segmenter's recipe: `python -m models.rfilter.train --data DUBAI/train --out models/nano/filter --minutes 30`.

Trains on random crops of real pairs. Tiles whose name begins with a `--hold-out` prefix are not seen: the rules are
calibrated on them. A second run goes on from the state under `--work`.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from models.categories import IGNORE
from models.nano.budget import Budget
from models.nano.tiles import Tile, draw_crops, load_tiles, to_signal
from models.pixel_values import unique_values
from models.rfilter.unet import UNet, save_unet

log = logging.getLogger(__name__)
HELD_OUT = ("tile8",)  # one of the five places in Dubai's train folder, all nine tiles of it


def split_tiles(tiles: Sequence[Tile], held_out: Sequence[str]) -> tuple[list[Tile], list[Tile]]:
    """Return (tiles to train on, tiles held out): held out is whose name begins with one of the prefixes."""
    held = [tile for tile in tiles if tile.name.startswith(tuple(held_out))]
    return [tile for tile in tiles if not tile.name.startswith(tuple(held_out))], held


def present_ids(tiles: Sequence[Tile]) -> tuple[int, ...]:
    """Return the category ids in the tiles' masks, ascending, without background and ignore."""
    return tuple(sorted({number for tile in tiles for number in unique_values(tile.mask)} - {0, IGNORE}))


def class_indices(masks: NDArray[np.uint8], category_ids: Sequence[int]) -> NDArray[np.uint8]:
    """Return ids as indices into `category_ids`; everything else becomes 255."""
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[list(category_ids)] = np.arange(len(category_ids))
    return np.asarray(table[masks], dtype=np.uint8)


def vary_light(signal: Tensor) -> Tensor:
    """Return pictures (B, 3, H, W) in [-1, 1] in other light: tint, contrast, brightness, gamma, blur and grain."""
    count = len(signal)
    gamma = torch.exp(0.25 * torch.randn(count, 1, 1, 1).clamp(-2, 2))
    signal = 2 * ((signal + 1) / 2).clamp(0, 1).pow(gamma) - 1
    contrast = 1 + 0.2 * torch.randn(count, 1, 1, 1).clamp(-2, 2)
    tint = 1 + 0.1 * torch.randn(count, 3, 1, 1).clamp(-2, 2)
    brightness = 0.12 * torch.randn(count, 1, 1, 1) + 0.04 * torch.randn(count, 3, 1, 1)
    blurred = F.avg_pool2d(signal, 3, stride=1, padding=1, count_include_pad=False)
    share = (torch.rand(count, 1, 1, 1) - 0.5).clamp(min=0) * 2  # half of the pictures stay sharp
    signal = torch.lerp(signal, blurred, share)
    noise = 0.08 * torch.rand(count, 1, 1, 1) * torch.randn_like(signal)
    return (signal * contrast * tint + brightness + noise).clamp(-1, 1)


def train_segmenter(
    tiles: Sequence[Tile],
    budget: Budget,
    state_file: Path | None = None,
    *,
    size: int = 192,
    batch_size: int = 8,
    seed: int = 3,
) -> tuple[UNet, tuple[int, ...]]:
    """Return a segmenter trained on random crops of the tiles until the budget is used, and its category ids.

    `state_file`, if given, is read first and written every two minutes, so that a killed run goes on.
    """
    torch.manual_seed(seed)
    category_ids = present_ids(tiles)
    network = UNet(len(category_ids)).train()
    torch.nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=2e-2)
    if state_file and state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        budget.seconds_before, budget.steps = state["seconds"], state["steps"]
    rng = np.random.default_rng(seed + budget.steps)
    saved_at, running = budget.seconds, 0.0
    while not budget.over:
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate(3e-3, floor=0.01)
        images, masks = draw_crops(tiles, rng, count=batch_size, size=size, largest_zoom_out=1.8)
        signal = vary_light(to_signal(images)).to(memory_format=torch.channels_last)  # (B, 3, S, S)
        target = torch.from_numpy(class_indices(masks, category_ids)).long()  # (B, S, S)
        with torch.autocast("cpu", torch.bfloat16):
            logits, _ = network(signal)  # (B, C, S, S)
        loss = F.cross_entropy(logits.float(), target, ignore_index=IGNORE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        budget.steps += 1
        running = 0.98 * running + 0.02 * float(loss.detach()) if running else float(loss.detach())
        if budget.steps % 50 == 0:
            log.info("step %d  loss %.3f  %.0f%%", budget.steps, running, 100 * budget.progress)
        if state_file and budget.seconds - saved_at > 120:
            _save_state(state_file, network, optimizer, budget)
            saved_at = budget.seconds
    network.eval()
    center_features(network, tiles, size=size)
    return network, category_ids


@torch.no_grad()
def center_features(network: UNet, tiles: Sequence[Tile], *, size: int, seed: int = 4) -> None:
    """Set the network's mean feature from random crops, so that cosines of features spread over [-1, 1]."""
    images, _ = draw_crops(tiles, np.random.default_rng(seed), count=64, size=size)
    network.center.zero_()
    features = [network(to_signal(image[None]))[1] for image in images]  # each (1, 160)
    network.center.copy_(torch.cat(features).mean(0))


def _save_state(path: Path, network: UNet, optimizer: torch.optim.Optimizer, budget: Budget) -> None:
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "seconds": budget.seconds,
        "steps": budget.steps,
    }
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the recipe from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the segmenter")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument(
        "--hold-out", nargs="*", default=list(HELD_OUT), help="tile name prefixes not trained on"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("runs/rfilter"), help="folder for the state of the run"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)

    tiles, held_out = split_tiles(load_tiles(options.data), options.hold_out)
    budget = Budget(options.minutes)
    network, category_ids = train_segmenter(tiles, budget, options.work / "state.pt")
    save_unet(
        network,
        options.out,
        category_ids,
        trained_on=[tile.name for tile in tiles],
        held_out=[tile.name for tile in held_out],
        steps=budget.steps,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
