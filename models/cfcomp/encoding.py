"""Pictures as latents and texts as embeddings: the frozen ends of a training, kept where they come again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.masks import control_image
from models.synthesis.pipeline import LoadedPipeline

# Pictures that a GPU encodes at once. A CPU encodes each alone: its last bits depend on how many there are, and a
# resumed run, which has nothing kept, would encode them in other company.
_TOGETHER = 8


class Encoder:
    """The pipeline's autoencoder and text encoder.

    Latents of the last pictures are kept, up to `cache_bytes`, by the sha256 of their pixels: of pairs that are as
    large as the samples, and are neither turned nor composed, each is encoded once. Texts are kept by the pipeline.
    """

    def __init__(self, loaded: LoadedPipeline, *, cache_bytes: int = 2**30) -> None:
        self._loaded = loaded
        self._cache_bytes = cache_bytes
        self._latents: OrderedDict[bytes, tuple[Tensor, Tensor | None]] = OrderedDict()
        self._kept_bytes = 0
        self.encoded = 0  # pictures that went through the autoencoder

    @torch.no_grad()
    def latents(self, pictures: NDArray[np.uint8], noise: Tensor) -> Tensor:
        """Return pictures (B, H, W, 3) as scaled latents, float32 on the device.  # (B, C, h, w)

        Where the autoencoder answers with a distribution, `noise` (B, C, h, w) chooses from it.
        """
        keys = [hashlib.sha256(picture.tobytes()).digest() for picture in pictures]
        absent = list({key: place for place, key in enumerate(keys) if key not in self._latents}.values())
        together = 1 if self._loaded.device.type == "cpu" else _TOGETHER
        for first in range(0, len(absent), together):
            places = absent[first : first + together]
            means, deviations = self._encode(pictures[places])
            for row, place in enumerate(places):
                deviation = None if deviations is None else deviations[row].clone()
                self._keep(keys[place], means[row].clone(), deviation)
        found = [self._latents[key] for key in keys]
        self._shrink()
        rows = [
            mean if deviation is None else mean + deviation * noise[place].to(mean)
            for place, (mean, deviation) in enumerate(found)
        ]
        return torch.stack(rows).contiguous(memory_format=torch.channels_last)

    def _encode(self, pictures: NDArray[np.uint8]) -> tuple[Tensor, Tensor | None]:
        vae = self._loaded.pipe.vae
        device = self._loaded.device
        signal = (
            torch.from_numpy(pictures).to(device).movedim(-1, 1).to(vae.dtype) / 127.5 - 1
        )  # (B, 3, H, W)
        with torch.autocast(device.type, enabled=False):
            answer = vae.encode(signal.contiguous(memory_format=torch.channels_last))
        self.encoded += len(pictures)
        scale = vae.config.scaling_factor
        if hasattr(answer, "latent_dist"):
            return answer.latent_dist.mean.float() * scale, answer.latent_dist.std.float() * scale
        return answer.latents.float() * scale, None

    def _keep(self, key: bytes, mean: Tensor, deviation: Tensor | None) -> None:
        self._latents[key] = mean, deviation
        self._kept_bytes += mean.nbytes + (0 if deviation is None else deviation.nbytes)

    def _shrink(self) -> None:
        while self._kept_bytes > self._cache_bytes:
            _, (mean, deviation) = self._latents.popitem(last=False)
            self._kept_bytes -= mean.nbytes + (0 if deviation is None else deviation.nbytes)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return the texts' hidden states.  # (B, 77, D)"""
        return torch.cat([self._loaded.prompts.embed(self._loaded.pipe, text) for text in texts])

    def controls(self, masks: NDArray[np.uint8]) -> Tensor:
        """Return masks (B, H, W) as the ControlNet is shown them when pictures are made.  # (B, 3, H, W)"""
        shown = np.stack([control_image(mask) for mask in masks])  # (B, H, W, 3)
        return torch.from_numpy(shown).to(self._loaded.device).movedim(-1, 1).float() / 255
