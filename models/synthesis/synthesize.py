"""Image synthesis: conditions in, pictures out, in batches, each picture from its own seed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import InvalidInput, NotFinite, SynthesisError
from models.masks import control_image
from models.model_card import Scheduler, check_size
from models.sample import Condition, Sample
from models.synthesis.pipeline import LoadedPipeline
from models.synthesis.schedulers import make_scheduler

logger = logging.getLogger(__name__)

OnStep = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True)
class _Settings:
    """What is the same for every batch of one run. `largest`: pictures per batch if memory allows."""

    num_inference_steps: int
    guidance_scale: float
    controlnet_conditioning_scale: float
    scheduler: Scheduler
    largest: int
    on_step: OnStep | None


def synthesize(
    loaded: LoadedPipeline,
    conditions: Sequence[Condition],
    *,
    num_inference_steps: int,
    guidance_scale: float,
    controlnet_conditioning_scale: float,
    scheduler: Scheduler,
    batch_size: int = 0,
    on_step: OnStep | None = None,
) -> Iterator[Sample]:
    """The pictures of `conditions`, in their order, as each batch is finished.

    Masks must share one size; prompts, negative prompts and seeds may differ. A picture depends on its own
    condition and the settings alone: on CPU in fp32 it is the same within 1/255 in any batch. On CUDA every
    batch has the same shape (the last is padded), because fp16 kernels differ slightly between shapes.

    `batch_size`: pictures per denoising batch; 0 takes the model's own for this device. When CUDA memory runs
    out the batch is halved, the limit is remembered in `loaded`, and the same seeds go on.

    `on_step(done_images, step, steps)` is called after every denoising step: pictures finished before this
    batch, and the step just done, 1 … steps (PNDM takes one more than asked). After a halved batch `step`
    starts at 1 again. Whatever it raises, BaseException included, ends the run and leaves `loaded` ready.

    Raises: InvalidInput at once (masks of several sizes, or a size the model cannot make); while iterating,
    NotFinite (NaN or infinity, in fp32 too) and SynthesisError (out_of_memory: one picture does not fit).
    """
    if not conditions:
        return iter(())
    height, width = conditions[0].mask.shape
    if any(condition.mask.shape != (height, width) for condition in conditions):
        raise InvalidInput("All masks of one run must have the same width and height.", code="mixed_sizes")
    check_size(loaded.card, width, height)
    on_cuda = loaded.device.type == "cuda"
    largest = batch_size or (loaded.card.batch_size_cuda if on_cuda else loaded.card.batch_size_cpu)
    settings = _Settings(
        num_inference_steps, guidance_scale, controlnet_conditioning_scale, scheduler, largest, on_step
    )
    return _run(loaded, conditions, settings)


def synthesize_by_default(
    loaded: LoadedPipeline, conditions: Sequence[Condition], *, on_step: OnStep | None = None
) -> Iterator[Sample]:
    """The pictures of `conditions` with the model's own settings; otherwise as `synthesize`."""
    own = loaded.card.defaults
    return synthesize(
        loaded,
        conditions,
        num_inference_steps=own.num_inference_steps,
        guidance_scale=own.guidance_scale,
        controlnet_conditioning_scale=own.controlnet_conditioning_scale,
        scheduler=own.scheduler,
        on_step=on_step,
    )


def _run(loaded: LoadedPipeline, conditions: Sequence[Condition], settings: _Settings) -> Iterator[Sample]:
    done = 0
    size = conditions[0].mask.shape
    while done < len(conditions):
        limit = min(settings.largest, loaded.batch_limits.get(size, settings.largest))
        batch = conditions[done : done + limit]
        pictures = _make_or_halve(loaded, batch, settings, limit, done)
        if pictures is None:
            continue
        for condition, picture in zip(batch, pictures, strict=True):
            if picture is not None:
                yield Sample(condition, picture)
        broken = [c for c, picture in zip(batch, pictures, strict=True) if picture is None]
        if broken:
            raise NotFinite(
                f"Picture {broken[0].index} (seed {broken[0].seed}) came out as NaN or infinity, with an "
                "fp32 decoder too. Try another seed, or a smaller guidance or conditioning scale.",
                indices=[condition.index for condition in broken],
            )
        done += len(batch)


def _make_or_halve(
    loaded: LoadedPipeline, batch: Sequence[Condition], settings: _Settings, limit: int, done: int
) -> list[NDArray[np.uint8] | None] | None:
    """The pictures of one batch, or None if memory ran out and a smaller batch is to be tried."""
    padded = [*batch, *[batch[-1]] * (limit - len(batch))] if loaded.fixed_batch_shape else batch
    try:
        latents = _denoise(loaded, padded, settings, done)
        return [_decode(loaded, latents[k : k + 1]) for k in range(len(batch))]
    except torch.OutOfMemoryError as error:
        if len(padded) == 1:
            raise SynthesisError(
                "One picture of this size does not fit into the device's memory. Ask for a smaller size.",
                code="out_of_memory",
            ) from error
    # Out of the handler, where the exception's frames no longer hold the batch's tensors.
    loaded.batch_limits[batch[0].mask.shape] = len(padded) // 2
    loaded.oom_halvings += 1
    logger.warning("out of memory with a batch of %d: going on with %d", len(padded), len(padded) // 2)
    if loaded.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


@torch.inference_mode()
def _denoise(
    loaded: LoadedPipeline, batch: Sequence[Condition], settings: _Settings, done: int
) -> torch.Tensor:
    """Finished latents (B, C, H/f, W/f) of one batch, f and C the VAE's."""
    pipe = loaded.pipe
    pipe.scheduler = make_scheduler(settings.scheduler, loaded.scheduler_config)

    def step_end(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if settings.on_step is not None:
            settings.on_step(done, step + 1, pipe.num_timesteps)
        return tensors

    generators = [torch.Generator("cpu").manual_seed(condition.seed) for condition in batch]
    negative = None
    if settings.guidance_scale > 1:  # diffusers does not look at the negative prompt otherwise
        negative = torch.cat([loaded.prompts.embed(pipe, condition.negative_prompt) for condition in batch])
    with _control_embedded_once(pipe.controlnet, len(batch)):
        result: torch.Tensor = pipe(
            prompt_embeds=torch.cat([loaded.prompts.embed(pipe, condition.prompt) for condition in batch]),
            negative_prompt_embeds=negative,
            image=_control(batch),
            latents=_initial_latents(loaded, batch[0].mask.shape, generators),
            generator=generators,  # no scheduler on offer draws more noise; if one did, it stays per picture
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=float(settings.guidance_scale),
            controlnet_conditioning_scale=float(settings.controlnet_conditioning_scale),
            callback_on_step_end=step_end,
            output_type="latent",
        ).images
    return result


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


def _control(batch: Sequence[Condition]) -> torch.Tensor:
    """(B, 3, H, W) float32: id / 255 on three channels, at the picture's own size.

    A tensor of the right size passes diffusers untouched; anything else it would resize with Lanczos, and
    make categories up.
    """
    images = np.stack([control_image(condition.mask) for condition in batch])  # (B, H, W, 3)
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _initial_latents(
    loaded: LoadedPipeline, size: tuple[int, ...], generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """(B, C, H/f, W/f) standard normal noise, drawn per picture on the CPU in fp32: equal everywhere."""
    factor = loaded.pipe.vae_scale_factor
    shape = (1, loaded.pipe.unet.config.in_channels, size[0] // factor, size[1] // factor)
    noise = [torch.randn(shape, generator=generator, dtype=torch.float32) for generator in generators]
    return torch.cat(noise).to(loaded.device, loaded.dtype)


@torch.inference_mode()
def _decode(loaded: LoadedPipeline, latent: torch.Tensor) -> NDArray[np.uint8] | None:
    """The (H, W, 3) uint8 RGB picture of one latent (1, C, H/f, W/f), or None if it is not finite.

    Stable Diffusion's VAE can overflow in fp16 where the latent is sound: it is then decoded in fp32.
    """
    vae = loaded.pipe.vae
    latent = latent / vae.config.scaling_factor
    image = vae.decode(latent, return_dict=False)[0]  # (1, 3, H, W) in -1 … 1
    if not torch.isfinite(image).all() and torch.isfinite(latent).all() and loaded.dtype != torch.float32:
        loaded.vae_retries += 1
        try:
            image = vae.to(torch.float32).decode(latent.float(), return_dict=False)[0]
        finally:
            vae.to(loaded.dtype)
    if not torch.isfinite(image).all():
        return None
    pixels = (image[0].float() / 2 + 0.5).clamp(0, 1) * 255  # (3, H, W)
    array: NDArray[np.uint8] = pixels.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(array)
