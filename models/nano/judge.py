"""The judge of mask consistency: a small dilated segmenter that has seen real training tiles only.

It shares nothing with the generator: no encoder-decoder with skips, no autoencoder latents, plain RGB in.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from numpy.typing import NDArray
from torch import Tensor, nn

from models.nano.budget import Budget
from models.nano.export import CATEGORY_IDS
from models.nano.tiles import Tile, draw_crops, to_signal

log = logging.getLogger(__name__)
CLASSES = len(CATEGORY_IDS)
UNJUDGED = 255  # class index of pixels that are "anything" (0) or "do not judge" (255)
_CROP = 160  # pixels


class Segmenter(nn.Module):
    """RGB in [-1, 1] (B, 3, H, W) to class scores (B, 5, H, W): dilated residual blocks at H/4."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(3, 24, stride=2), _convolution(24, width, stride=2))
        self.blocks = nn.ModuleList(
            nn.Sequential(_convolution(width, width, dilation=d), _convolution(width, width, dilation=d))
            for d in (1, 2, 4, 8, 2, 1)
        )
        self.scores = nn.Conv2d(width, CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return class scores at full size."""
        features = self.stem(images)  # (B, 48, H/4, W/4)
        for block in self.blocks:
            features = features + block(features)
        scores: Tensor = F.interpolate(self.scores(features), size=images.shape[-2:], mode="bilinear")
        return scores


def _convolution(inward: int, outward: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride=stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(outward),
        nn.ReLU(inplace=True),
    )


def class_indices(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ids as indices into CATEGORY_IDS; everything else becomes UNJUDGED."""
    table = np.full(256, UNJUDGED, dtype=np.uint8)
    table[list(CATEGORY_IDS)] = np.arange(CLASSES)
    return np.asarray(table[masks], dtype=np.uint8)


def train_judge(tiles: Sequence[Tile], budget: Budget, *, batch_size: int = 12, seed: int = 1) -> Segmenter:
    """Return a segmenter trained on random crops of real tiles, with brightness, contrast and noise varied."""
    rng = np.random.default_rng(seed)
    judge = Segmenter().train()
    torch.nn.utils.convert_conv2d_weight_memory_format(judge, torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3, weight_decay=1e-2)
    weight = torch.tensor([0.6, 1.5, 1.2, 0.8, 1.2])  # sand and water are large; roads are thin
    running = 0.0
    while not budget.over:
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate(3e-3)
        images, masks = draw_crops(tiles, rng, count=batch_size, size=_CROP)
        signal = _vary_light(to_signal(images)).to(memory_format=torch.channels_last)
        target = torch.from_numpy(class_indices(masks)).long()
        with torch.autocast("cpu", torch.bfloat16):
            scores = judge(signal)
        loss = F.cross_entropy(scores.float(), target, weight=weight, ignore_index=UNJUDGED)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        budget.steps += 1
        running = 0.97 * running + 0.03 * float(loss.detach())
        if budget.steps % 50 == 0:
            log.info("judge step %d  loss %.3f  %.0f%%", budget.steps, running, 100 * budget.progress)
    judge.eval()
    return judge


def _vary_light(signal: Tensor) -> Tensor:
    count = len(signal)
    contrast = 1 + 0.2 * torch.randn(count, 3, 1, 1).clamp(-2, 2)
    brightness = 0.15 * torch.randn(count, 1, 1, 1)
    noise = 0.08 * torch.rand(count, 1, 1, 1) * torch.randn_like(signal)
    return (signal * contrast + brightness + noise).clamp(-1, 1)


@torch.no_grad()
def judge_images(judge: Segmenter, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return class indices (B, H, W) for pictures (B, H, W, 3) uint8."""
    return np.stack([judge(to_signal(image)[None])[0].argmax(0).numpy().astype(np.uint8) for image in images])


def confusion(found: NDArray[np.uint8], masks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return pixel counts (true, found) of class indices against id masks; unjudged pixels are left out."""
    true = class_indices(masks)
    judged = true != UNJUDGED
    pairs = true[judged].astype(np.int64) * CLASSES + found[judged]
    return np.bincount(pairs, minlength=CLASSES * CLASSES).reshape(CLASSES, CLASSES)


def class_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return intersection over union of each class from a confusion matrix; NaN where a class is absent."""
    hit = np.diag(counts).astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - hit
    iou = np.full(CLASSES, np.nan)
    np.divide(hit, union, out=iou, where=union > 0)
    return iou
