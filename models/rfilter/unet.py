"""The filter's own small segmenter: a U-Net with skips, and the folder it is kept in.

It must never be the judge of an evaluation, and shares no layer plan with it (`models/nano/judge.py` is a dilated
residual network without skips).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG_FILE = "segmenter.json"
WEIGHTS_FILE = "segmenter.safetensors"
STRIDE = 32  # pixels: sides are padded to a multiple of it


class UNet(nn.Module):
    """RGB in [-1, 1] (B, 3, H, W) to logits (B, C, H, W), C = the number of categories; H and W multiples of 32.

    Works at half size and below, and has one picture-wide average at the bottom, so that water is told from shade
    by what lies around it.
    """

    def __init__(self, categories: int, widths: Sequence[int] = (20, 40, 80, 128, 160)) -> None:
        super().__init__()
        self.stem = _convolution(3, widths[0], stride=2)
        self.down = nn.ModuleList(_double(inner, outer, stride=2) for inner, outer in pairwise(widths))
        self.around = nn.Sequential(nn.Conv2d(widths[-1], widths[-1], 1), nn.ReLU(inplace=True))
        upward = list(pairwise(reversed(widths)))
        self.reduce = nn.ModuleList(nn.Conv2d(deep, shallow, 1, bias=False) for deep, shallow in upward)
        self.up = nn.ModuleList(_double(2 * shallow, shallow) for _, shallow in upward)
        self.scores = nn.Conv2d(widths[0], categories, 1)
        self.center: Tensor
        self.register_buffer("center", torch.zeros(widths[-1]))  # mean feature of the training crops

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, C, H, W) and features (B, 160): the pooled bottom less its mean in training."""
        features = self.stem(images)  # (B, 20, H/2, W/2)
        skips = []
        for step in self.down:
            skips.append(features)
            features = step(features)
        pooled = features.mean((-2, -1), keepdim=True)  # (B, 160, 1, 1)
        features = features + self.around(pooled)
        for reduce, merge, skip in zip(self.reduce, self.up, reversed(skips), strict=True):
            larger = F.interpolate(reduce(features), scale_factor=2, mode="nearest")
            features = merge(torch.cat([larger, skip], 1))
        logits = F.interpolate(self.scores(features), size=images.shape[-2:], mode="bilinear")
        return logits, pooled.flatten(1) - self.center


def _convolution(inward: int, outward: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outward),
        nn.ReLU(inplace=True),
    )


def _double(inward: int, outward: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_convolution(inward, outward, stride=stride), _convolution(outward, outward))


def save_unet(network: UNet, folder: Path, category_ids: Sequence[int], **facts: object) -> None:
    """Write `segmenter.safetensors` (fp16) and `segmenter.json`: the ids of its outputs, and `facts` about it."""
    folder.mkdir(parents=True, exist_ok=True)
    state = network.state_dict()
    half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}
    save_file(half, folder / WEIGHTS_FILE)
    config = {"category_ids": list(category_ids), **facts}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load_unet(folder: Path) -> tuple[UNet, tuple[int, ...]]:
    """Return the network in fp32, ready to segment, and the EarthSynth id of each of its outputs."""
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    ids = tuple(int(number) for number in config["category_ids"])
    network = UNet(len(ids))
    state = load_file(folder / WEIGHTS_FILE)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    network.eval().requires_grad_(False)
    torch.nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    return network, ids
