"""Segmenters for R4 to R6 and R8: our small U-Net, or any semantic-segmentation checkpoint of `transformers`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from safetensors import SafetensorError

from models.categories import find_category
from models.errors import ModelUnavailable, UnknownCategory
from models.nano.tiles import to_signal
from models.rfilter.agreement import Belief
from models.rfilter.unet import CONFIG_FILE, STRIDE, WEIGHTS_FILE, load_unet

DIGEST_DIGITS = 12


class Segmenter(Protocol):
    """`digest`: the first 12 hex digits of its weights' SHA-256."""

    digest: str

    def believe(self, image: NDArray[np.uint8]) -> Belief:
        """Return what it sees in a picture (H, W, 3)."""


def load_segmenter(source: Path | str, device: str) -> Segmenter:
    """Return the segmenter in a folder of ours, or of `transformers`, or behind a hub id.

    Raises:
        ModelUnavailable: absent, damaged, pickled only, or it knows none of our categories.
    """
    try:
        if (Path(source) / CONFIG_FILE).is_file():
            return _UNetSegmenter(Path(source), device)
        return _TransformersSegmenter(source, device)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelUnavailable(
            f"The filter's segmenter {Path(source).name} cannot be loaded: it must be a folder made by "
            "models.rfilter.train or a transformers semantic-segmentation checkpoint with safetensors weights."
        ) from error


def weights_digest(state: dict[str, Any]) -> str:
    """Return the first 12 hex digits of the SHA-256 over names and values of a state dict."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(name.encode())
        total.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:DIGEST_DIGITS]


class _UNetSegmenter:
    def __init__(self, folder: Path, device: str) -> None:
        self._network, self._ids = load_unet(folder)
        self._network.to(device)
        self._device = device
        self.digest = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()[:DIGEST_DIGITS]

    @torch.inference_mode()
    def believe(self, image: NDArray[np.uint8]) -> Belief:
        height, width = image.shape[:2]
        padding = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
        signal = to_signal(np.pad(image, padding, mode="edge"))[None]  # (1, 3, H', W')
        logits, feature = self._network(signal.to(self._device, memory_format=torch.channels_last))
        logs = logits[0, :, :height, :width].float().log_softmax(0)
        return Belief(logs.cpu().numpy(), self._ids, feature[0].float().cpu().numpy())


class _TransformersSegmenter:
    """Outputs whose name is a category's (id2label) are taken; several of one category are added up."""

    def __init__(self, source: Path | str, device: str) -> None:
        from transformers import AutoModelForSemanticSegmentation

        network = AutoModelForSemanticSegmentation.from_pretrained(
            source, use_safetensors=True, trust_remote_code=False
        )
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = device
        self._targets = _match_labels(network.config.id2label)
        if not self._targets:
            raise ValueError("none of its labels is a category of EarthSynth")
        self._ids = tuple(sorted(set(self._targets.values())))
        self._mean, self._std = _normalisation(source)
        self.digest = weights_digest(network.state_dict())

    @torch.inference_mode()
    def believe(self, image: NDArray[np.uint8]) -> Belief:
        values = (image.astype(np.float32) / 255 - self._mean) / self._std
        signal = torch.from_numpy(values).movedim(-1, 0)[None].to(self._device)  # (1, 3, H, W)
        output = self._network(pixel_values=signal, output_hidden_states=True)
        logits = F.interpolate(output.logits.float(), size=image.shape[:2], mode="bilinear")[0]
        logs = logits.log_softmax(0)
        gathered = [
            torch.logsumexp(logs[[label for label, target in self._targets.items() if target == number]], 0)
            for number in self._ids
        ]
        deepest = output.hidden_states[-1][0]  # (D, h, w), or (tokens, D) for plain transformers
        feature = deepest.mean((-2, -1)) if deepest.ndim == 3 else deepest.mean(0)
        return Belief(torch.stack(gathered).cpu().numpy(), self._ids, feature.float().cpu().numpy())


def _match_labels(names: dict[int, str]) -> dict[int, int]:
    """Return output → category id for the outputs whose name is a category's, or an alias of one."""
    targets = {}
    for label, name in names.items():
        try:
            number = find_category(name).id
        except UnknownCategory:
            continue
        if number:
            targets[int(label)] = number
    return targets


def _normalisation(source: Path | str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of the pixels (in [0, 1]) that a checkpoint expects: its own, or ImageNet's.

    Read from preprocessor_config.json, because the image processors of transformers want torchvision.
    """
    from transformers.utils import cached_file

    path = cached_file(source, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    config = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    mean = config.get("image_mean", [0.485, 0.456, 0.406])
    std = config.get("image_std", [0.229, 0.224, 0.225])
    return np.array(mean, np.float32), np.array(std, np.float32)
