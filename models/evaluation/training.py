"""One run: a segmenter trained on the batches of one arm, and what it says about the test tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from numpy.typing import NDArray

from models.categories import IGNORE
from models.evaluation.batches import Batch
from models.evaluation.scores import class_indices, confusion
from models.evaluation.segmenter import STRIDE, Segmenter
from models.nano.tiles import Tile, to_signal

_PEAK_LEARNING_RATE = 3e-3


def train_segmenter(
    batches: Iterable[Batch],
    categories: Sequence[int],
    *,
    weights: NDArray[np.float64],
    steps: int,
    seed: int,
) -> Segmenter:
    """Return a segmenter trained on `steps` batches, one AdamW step each, from start values made by the seed.

    `weights`: of the categories in the loss, in their order. Pixels of no category do not count. Arithmetic is
    bf16 on the CPU, loss and weights fp32.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Segmenter(len(categories)).train()
    torch.nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_PEAK_LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _PEAK_LEARNING_RATE, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    weight = torch.from_numpy(weights).float()
    for images, labels in batches:
        signal = to_signal(images).contiguous(memory_format=torch.channels_last)
        target = torch.from_numpy(class_indices(labels[:, ::2, ::2], categories)).long()  # (B, H/2, W/2)
        with torch.autocast("cpu", torch.bfloat16):
            scores = network(signal)
        loss = F.cross_entropy(scores.float(), target, weight=weight, ignore_index=IGNORE)
        if not torch.isfinite(loss):  # a batch without one labelled pixel: nothing to learn from it
            continue
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval()
    return network


@torch.no_grad()
def tile_confusions(
    network: Segmenter, tiles: Sequence[Tile], categories: Sequence[int]
) -> NDArray[np.int64]:
    """Return pixel counts (tiles, true, found) of the network's answers on whole tiles at full size."""
    return np.stack([confusion(_segment(network, tile.image), tile.mask, categories) for tile in tiles])


def _segment(network: Segmenter, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class indices (H, W) of a picture of any size, mirrored at its edges up to the network's stride."""
    high, wide = image.shape[:2]
    padded = np.pad(image, ((0, -high % STRIDE), (0, -wide % STRIDE), (0, 0)), mode="symmetric")
    signal = to_signal(padded)[None].contiguous(memory_format=torch.channels_last)
    scores = F.interpolate(network(signal), scale_factor=2, mode="bilinear")
    return scores[0].argmax(0).numpy().astype(np.uint8)[:high, :wide]
