"""Keep-background: the model paints a region of a given picture anew, and the rest stays bit for bit."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionControlNetInpaintPipeline
from numpy.typing import NDArray

from models.sample import Background
from models.tiling import Canvas

_BLENDED_BY_DIFFUSERS = (
    4  # latent channels: of any other number its inpainting never looks at the given picture
)


class BackgroundPipeline(StableDiffusionControlNetInpaintPipeline):  # type: ignore[misc]  # diffusers is not typed
    """diffusers' inpainting with a ControlNet, for latents of any width, with `latents` as the noise at any strength.

    `given` (B, C, h, w): the latents of the given pictures, set before each call, as large ones are encoded in tiles.
    """

    given: torch.Tensor
    _noise: torch.Tensor
    _cells: torch.Tensor

    def release(self) -> None:
        """Gives up the tensors of the last call."""
        for name in ("given", "_noise", "_cells"):
            self.__dict__.pop(name, None)

    def prepare_latents(
        self, *arguments: Any, timestep: torch.Tensor, is_strength_max: bool, **flags: Any
    ) -> tuple[torch.Tensor, ...]:
        """What denoising starts from, the noise in it, and the given pictures where diffusers asks for them.

        Its own takes `latents` for a start without the given picture, whatever the strength.
        """
        noise = self._noise = arguments[-1]
        if is_strength_max:
            start = noise * self.scheduler.init_noise_sigma
        else:
            start = self.scheduler.add_noise(self.given, noise, timestep)
        return (start, noise, self.given) if flags["return_image_latents"] else (start, noise)

    def prepare_mask_latents(self, mask: torch.Tensor, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """The mask (B, 1, h, w), twice with guidance; without encoding what only UNets of nine channels look at."""
        _, _, height, width, dtype, device, _, guided = arguments
        size = (height // self.vae_scale_factor, width // self.vae_scale_factor)
        self._cells = torch.nn.functional.interpolate(mask, size=size).to(device, dtype)
        return torch.cat([self._cells] * 2) if guided else self._cells, torch.empty(0)

    def kept(self, latents: torch.Tensor, step: int) -> torch.Tensor:
        """The latents after a step, with the given pictures outside the region, as noisy as the next step wants."""
        if self.unet.config.in_channels == _BLENDED_BY_DIFFUSERS:
            return latents
        given, timesteps = self.given, self.scheduler.timesteps[-self.num_timesteps :]
        if step + 1 < len(timesteps):
            given = self.scheduler.add_noise(given, self._noise, timesteps[step + 1 : step + 2])
        return (1 - self._cells) * given + self._cells * latents


def background_pipeline(pipe: Any) -> BackgroundPipeline:
    """The inpainting pipeline of the same networks, in the same memory."""
    made = BackgroundPipeline(**pipe.components, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def new_share(background: Background) -> NDArray[np.float32]:
    """How much of each pixel (H, W) is new: 1 in the region, 0 farther than the feather from it, falling evenly."""
    if background.feather_pixels == 0:
        return background.region.astype(np.float32)
    outside = np.where(background.region, np.uint8(0), np.uint8(1))
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = 1 - np.asarray(distance, dtype=np.float32) / (background.feather_pixels + 1)
    return np.asarray(share.clip(0, 1), dtype=np.float32)


def cells_to_paint(background: Background, canvas: Canvas, cell: int) -> NDArray[np.float32]:
    """1 for every pixel (H, W) of the canvas whose cell of `cell` pixels has anything new in it, else 0."""
    new = canvas.filled((new_share(background) > 0).astype(np.uint8))
    cells = new.reshape(canvas.height // cell, cell, canvas.width // cell, cell).max(axis=(1, 3))
    return np.asarray(cells.repeat(cell, 0).repeat(cell, 1), dtype=np.float32)


def pasted(background: Background, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The given picture with the new one in its region: (H, W, 3) uint8 RGB."""
    share = new_share(background)[..., None]
    mixed = np.where(share == 1, picture, share * picture + (1 - share) * background.image)
    return np.where(share == 0, background.image, mixed.round().astype(np.uint8))
