"""Large pictures: at every denoising step the model looks at one tile after another, and the overlaps are averaged.

MultiDiffusion (Bar-Tal et al., arXiv 2302.08113) with weights that fade towards a tile's edge. The scheduler, the
noise and the guidance are those of the whole picture, so tiles agree from the first step on, and there is no seam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from models.tiling import Canvas


@contextmanager
def seen_in_tiles(
    pipe: Any,
    canvas: Canvas,
    *,
    pictures: int,
    tiles_at_once: int,
    fixed_batch_shape: bool,
    on_tiles: Callable[[], None],
) -> Iterator[None]:
    """While it is open, the pipeline's ControlNet and UNet predict a canvas of several tiles, tile by tile.

    `pictures` in the pipeline's batch; of each, `tiles_at_once` tiles are predicted together; `fixed_batch_shape`
    fills up the last ones, so that every call has one shape. `on_tiles` is called after every such call, and may
    raise. Each tile's control image is embedded once, not at every step: it depends on neither step nor prompt.
    """
    controlnet, unet = pipe.controlnet, pipe.unet
    embedding = controlnet.controlnet_cond_embedding
    controlled, predicted, embedded = controlnet.forward, unet.forward, embedding.forward
    factor = pipe.vae_scale_factor
    weights = torch.from_numpy(canvas.weights(factor)).to(pipe.device)
    counted = torch.zeros((canvas.height // factor, canvas.width // factor), device=pipe.device)
    for left, top in canvas.tiles:
        counted[*canvas.window(left, top, factor)] += weights
    groups = [
        canvas.tiles[first : first + tiles_at_once] for first in range(0, len(canvas.tiles), tiles_at_once)
    ]
    asked: dict[str, Any] = {}
    controls: dict[tuple[int, int], torch.Tensor] = {}

    def remember(_latents: torch.Tensor, _timestep: Any, **named: Any) -> tuple[None, None]:
        asked.update(named)  # the residuals are made below, for each tile
        return None, None

    def control_of(tile: tuple[int, int], halves: int) -> torch.Tensor:
        if tile not in controls:
            shown = asked["controlnet_cond"][
                :pictures
            ]  # the halves, with and without the prompt, see the same
            controls[tile] = embedded(shown[..., *canvas.window(*tile)])
        return controls[tile].repeat(halves, 1, 1, 1)

    def predict(latents: torch.Tensor, timestep: Any, **named: Any) -> tuple[torch.Tensor]:
        rows = latents.shape[0]  # pictures, times two with guidance
        total = torch.zeros(latents.shape, dtype=torch.float32, device=latents.device)
        for group in groups:
            missing = tiles_at_once - len(group) if fixed_batch_shape else 0
            tiles = [*group, *[group[-1]] * missing]
            parts = torch.cat([latents[..., *canvas.window(*tile, factor)] for tile in tiles])
            texts = named["encoder_hidden_states"].repeat(len(tiles), 1, 1)
            seen = torch.cat([control_of(tile, rows // pictures) for tile in tiles])
            embedding.forward = lambda _pixels, seen=seen: seen
            down, middle = controlled(
                parts,
                timestep,
                **asked | {"encoder_hidden_states": texts, "controlnet_cond": seen},
            )
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
            found = predicted(parts, timestep, **named | residuals | {"encoder_hidden_states": texts})[0]
            for tile, part in zip(group, found.split(rows), strict=False):  # what fills up is left out
                total[..., *canvas.window(*tile, factor)] += part.float() * weights
            on_tiles()
        return ((total / counted).to(latents.dtype),)

    controlnet.forward, unet.forward = remember, predict
    try:
        yield
    finally:
        for module in (controlnet, unet, embedding):
            vars(module).pop("forward", None)


def calls_of(canvas: Canvas, tiles_at_once: int) -> int:
    """How often the model is called for one denoising step of a canvas."""
    return -(-len(canvas.tiles) // tiles_at_once)
