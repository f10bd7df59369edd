"""Between pictures and latents: one picture at a time, a large one tile by tile, in fp32 where fp16 overflows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from models.synthesis.pipeline import LoadedPipeline
from models.tiling import Canvas

_Made = Callable[[torch.Tensor], torch.Tensor]


@torch.inference_mode()
def decode(
    loaded: LoadedPipeline, latent: torch.Tensor, canvas: Canvas, on_tile: Callable[[], None] | None = None
) -> NDArray[np.uint8] | None:
    """The (H, W, 3) uint8 RGB picture of one latent (1, C, h, w) of the canvas, or None if it is not finite.

    `on_tile` is called after each tile where there are several, and may raise.
    """

    def decoded(part: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = loaded.pipe.vae.decode(part, return_dict=False)[0]  # (1, 3, H, W) in -1 … 1
        return image

    latent = latent / loaded.pipe.vae.config.scaling_factor
    image = _by_tiles(loaded, latent, decoded, canvas, on_tile, grains=(loaded.pipe.vae_scale_factor, 1))
    if not torch.isfinite(image).all():
        return None
    shown = image[0, :, : canvas.picture_height, : canvas.picture_width]
    pixels = (shown.float() / 2 + 0.5).clamp(0, 1) * 255  # (3, H, W)
    array: NDArray[np.uint8] = pixels.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(array)


@torch.inference_mode()
def encode(
    loaded: LoadedPipeline,
    picture: NDArray[np.uint8],
    canvas: Canvas,
    on_tile: Callable[[], None] | None = None,
) -> torch.Tensor:
    """The latent (1, C, h, w) of one picture (H, W, 3) uint8 RGB: the likeliest one, so that nothing is drawn."""

    def encoded(part: torch.Tensor) -> torch.Tensor:
        found = loaded.pipe.vae.encode(part)
        latent: torch.Tensor = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
        return latent

    pixels = torch.from_numpy(canvas.filled(picture)).to(loaded.device).permute(2, 0, 1)[None]
    image = (pixels.float() / 127.5 - 1).to(loaded.dtype).contiguous(memory_format=torch.channels_last)
    latent = _by_tiles(loaded, image, encoded, canvas, on_tile, grains=(1, loaded.pipe.vae_scale_factor))
    return latent * float(loaded.pipe.vae.config.scaling_factor)


def _by_tiles(
    loaded: LoadedPipeline,
    source: torch.Tensor,
    make: _Made,
    canvas: Canvas,
    on_tile: Callable[[], None] | None,
    *,
    grains: tuple[int, int],
) -> torch.Tensor:
    """What `make` makes of a canvas (1, C, H, W), tile by tile, overlaps averaged: (1, C', H', W').

    `grains`: pixels of one cell of the source, and of one cell of what is made.
    """
    if len(canvas.tiles) == 1:
        return _finite(loaded, source, make)
    grain, made_grain = grains
    weights = torch.from_numpy(canvas.weights(made_grain)).to(source.device)
    size = (canvas.height // made_grain, canvas.width // made_grain)
    total: torch.Tensor | None = None
    counted = torch.zeros(size, dtype=torch.float32, device=source.device)
    for left, top in canvas.tiles:
        part = _finite(loaded, source[..., *canvas.window(left, top, grain)], make)
        if total is None:
            total = torch.zeros((1, part.shape[1], *size), dtype=torch.float32, device=source.device)
        window = canvas.window(left, top, made_grain)
        total[..., *window] += part.float() * weights
        counted[*window] += weights
        if on_tile is not None:
            on_tile()
    if total is None:
        raise ValueError("a canvas has at least one tile")
    return (total / counted).to(source.dtype)


def _finite(loaded: LoadedPipeline, part: torch.Tensor, make: _Made) -> torch.Tensor:
    """What `make` makes; in fp32 where Stable Diffusion's VAE overflows in fp16 though its input is sound."""
    made = make(part)
    if torch.isfinite(made).all() or not torch.isfinite(part).all() or loaded.dtype == torch.float32:
        return made
    loaded.vae_retries += 1
    try:
        loaded.pipe.vae.to(torch.float32)
        return make(part.float())
    finally:
        loaded.pipe.vae.to(loaded.dtype)
