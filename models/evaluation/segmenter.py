"""The network whose training is compared: a small feature pyramid.

Neither the judge of nano (dilated, no pyramid) nor the filter's U-Net, so no arm is favoured by sharing an
architecture with what chose its pictures.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor, nn

STRIDE = 16  # sides must be a multiple of it
_WIDTHS = (32, 64, 96)  # channels at H/4, H/8, H/16
_PYRAMID = 32


class Segmenter(nn.Module):
    """RGB in [-1, 1] (B, 3, H, W) to class scores (B, classes, H/2, W/2).

    Group norm, not batch norm: real and synthetic pictures share batches, and must not normalise each other.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        # Without a norm: at this size its gradient would be a sixth of the work.
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        inward = (24, *_WIDTHS[:-1])
        self.stages = nn.ModuleList(_Stage(a, b) for a, b in zip(inward, _WIDTHS, strict=True))
        self.laterals = nn.ModuleList(nn.Conv2d(width, _PYRAMID, 1) for width in _WIDTHS)
        self.head = _convolution(_PYRAMID, _PYRAMID)
        self.scores = nn.Conv2d(_PYRAMID, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return class scores at half the pictures' size."""
        features = self.stem(images)  # (B, 24, H/2, W/2)
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        merged = self.laterals[-1](levels[-1])  # (B, 32, H/16, W/16)
        for lateral, level in zip(self.laterals[-2::-1], levels[-2::-1], strict=True):
            merged = _enlarge(merged) + lateral(level)
        scores: Tensor = _enlarge(self.scores(self.head(merged)))  # (B, classes, H/2, W/2)
        return scores


class _Stage(nn.Module):
    """Half the size, then a residual convolution."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.down = _convolution(inward, outward, stride=2)
        self.residual = _convolution(outward, outward)

    def forward(self, features: Tensor) -> Tensor:
        features = self.down(features)
        return features + self.residual(features)  # type: ignore[no-any-return]


def _convolution(inward: int, outward: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(8, outward),
        nn.ReLU(inplace=True),
    )


def _enlarge(features: Tensor) -> Any:
    return F.interpolate(features, scale_factor=2, mode="bilinear")
