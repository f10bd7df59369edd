"""One batch from noise to finished latents, by diffusers' own pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models.masks import control_image
from models.model_card import Scheduler
from models.sample import Background, Condition
from models.synthesis.autoencoding import encode
from models.synthesis.background import BackgroundPipeline, background_pipeline, cells_to_paint
from models.synthesis.pipeline import LoadedPipeline
from models.synthesis.schedulers import make_scheduler
from models.synthesis.tiled import calls_of, seen_in_tiles
from models.tiling import Canvas

OnStep = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for every batch of one run. `largest`: pictures, or tiles, per batch if memory allows."""

    num_inference_steps: int
    guidance_scale: float
    controlnet_conditioning_scale: float
    scheduler: Scheduler
    strength: float
    canvas: Canvas
    largest: int
    on_step: OnStep | None


@torch.inference_mode()
def denoise(
    loaded: LoadedPipeline, batch: Sequence[Condition], settings: Settings, done: int, tiles_at_once: int
) -> tuple[torch.Tensor, int]:
    """Finished latents (B, C, h, w) of one batch of canvases, C the VAE's channels, and in how many steps."""
    canvas = settings.canvas
    backgrounds = [condition.background for condition in batch if condition.background is not None]
    pipe = _painter(loaded) if backgrounds else loaded.pipe
    pipe.scheduler = make_scheduler(settings.scheduler, loaded.scheduler_config)
    calls = calls_of(canvas, tiles_at_once)
    made = 0

    def step_made() -> None:
        nonlocal made
        made += 1
        if settings.on_step is not None:
            settings.on_step(done, made, pipe.num_timesteps * calls)

    def encoded() -> None:
        if settings.on_step is not None:
            settings.on_step(done, 0, settings.num_inference_steps * calls)

    def step_end(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if len(canvas.tiles) == 1:
            step_made()
        return {"latents": pipe.kept(tensors["latents"], step)} if backgrounds else tensors

    generators = [torch.Generator("cpu").manual_seed(condition.seed) for condition in batch]
    negative = None
    if settings.guidance_scale > 1:  # diffusers does not look at the negative prompt otherwise
        negative = torch.cat([loaded.prompts.embed(pipe, condition.negative_prompt) for condition in batch])
    control = _control(batch, canvas)
    shown: dict[str, Any] = {"image": control}
    if backgrounds:
        pipe.given = _given(loaded, backgrounds, canvas, encoded)
        shown = {"control_image": control, "strength": float(settings.strength)}
        shown |= _painting(backgrounds, canvas, pipe.vae_scale_factor)
    if len(canvas.tiles) == 1:
        seeing = _control_embedded_once(pipe.controlnet, len(batch))
    else:
        seeing = seen_in_tiles(
            pipe,
            canvas,
            pictures=len(batch),
            tiles_at_once=tiles_at_once,
            fixed_batch_shape=loaded.fixed_batch_shape,
            on_tiles=step_made,
        )
    try:
        with seeing:
            result: torch.Tensor = pipe(
                **shown,
                prompt_embeds=torch.cat([loaded.prompts.embed(pipe, one.prompt) for one in batch]),
                negative_prompt_embeds=negative,
                latents=_initial_latents(loaded, canvas, generators),
                generator=generators,  # no scheduler on offer draws more noise; if one did, it stays per picture
                num_inference_steps=settings.num_inference_steps,
                guidance_scale=float(settings.guidance_scale),
                controlnet_conditioning_scale=float(settings.controlnet_conditioning_scale),
                callback_on_step_end=step_end,
                output_type="latent",
            ).images
    finally:
        if backgrounds:
            pipe.release()
    return result, made


@contextmanager
def _control_embedded_once(controlnet: Any, pictures: int) -> Iterator[None]:
    """While it is open, the control image's own embedding is computed once, not at every step.

    It depends on neither the step nor the prompt, so the pictures are the same; diffusers computes it anew at
    each step, for the prompted and the unprompted half alike: a fifth to two fifths of nano's work on a CPU.
    """
    embedding = controlnet.controlnet_cond_embedding
    plain = embedding.forward
    seen: torch.Tensor | None = None
    embedded: torch.Tensor | None = None

    def once(conditioning: torch.Tensor) -> torch.Tensor:
        nonlocal seen, embedded
        if embedded is None or conditioning is not seen:  # the pipeline hands over one tensor at every step
            halves = conditioning.shape[0] // pictures  # 2 with guidance: the same control image twice
            embedded = plain(conditioning[:pictures]).repeat(halves, 1, 1, 1)
            seen = conditioning
        return embedded

    embedding.forward = once
    try:
        yield
    finally:
        del embedding.forward


def _control(batch: Sequence[Condition], canvas: Canvas) -> torch.Tensor:
    """(B, 3, H, W) float32: id / 255 on three channels, at the canvas's size.

    A tensor of the right size passes diffusers untouched; anything else it would resize with Lanczos, and
    make categories up.
    """
    images = np.stack([canvas.filled(control_image(condition.mask)) for condition in batch])  # (B, H, W, 3)
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _initial_latents(
    loaded: LoadedPipeline, canvas: Canvas, generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """(B, C, h, w) standard normal noise, drawn per picture on the CPU in fp32: equal everywhere."""
    factor = loaded.pipe.vae_scale_factor
    shape = (1, loaded.pipe.unet.config.in_channels, canvas.height // factor, canvas.width // factor)
    noise = [torch.randn(shape, generator=generator, dtype=torch.float32) for generator in generators]
    return torch.cat(noise).to(loaded.device, loaded.dtype)


def _painter(loaded: LoadedPipeline) -> BackgroundPipeline:
    found: BackgroundPipeline | None = loaded.painter
    if found is None:
        found = loaded.painter = background_pipeline(loaded.pipe)
    return found


def _given(
    loaded: LoadedPipeline, backgrounds: Sequence[Background], canvas: Canvas, on_tile: Callable[[], None]
) -> torch.Tensor:
    """(B, C, h, w): the given pictures' latents; a picture that several share is encoded once."""
    latents: dict[int, torch.Tensor] = {}
    for background in backgrounds:
        if id(background.image) not in latents:
            latents[id(background.image)] = encode(loaded, background.image, canvas, on_tile)
    return torch.cat([latents[id(background.image)] for background in backgrounds])


def _painting(backgrounds: Sequence[Background], canvas: Canvas, cell: int) -> dict[str, torch.Tensor]:
    """The given pictures (B, 3, H, W) in 0 … 1, and where they are painted anew: (B, 1, H, W), 0 or 1, whole cells.

    Their size is the canvas's, so that diffusers resizes neither.
    """
    pictures = np.stack([canvas.filled(background.image) for background in backgrounds])  # (B, H, W, 3)
    cells = np.stack([cells_to_paint(background, canvas, cell) for background in backgrounds])  # (B, H, W)
    return {
        "image": torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255,
        "mask_image": torch.from_numpy(cells)[:, None],
    }
