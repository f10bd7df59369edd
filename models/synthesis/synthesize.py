"""Image synthesis: conditions in, pictures out, in batches, each picture from its own seed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import InvalidInput, NotFinite, SynthesisError
from models.model_card import Scheduler, check_size
from models.sample import Background, Condition, Sample
from models.synthesis.autoencoding import decode
from models.synthesis.background import pasted
from models.synthesis.denoising import OnStep, Settings, denoise
from models.synthesis.pipeline import LoadedPipeline
from models.tiling import plan_canvas

logger = logging.getLogger(__name__)


def synthesize(
    loaded: LoadedPipeline,
    conditions: Sequence[Condition],
    *,
    num_inference_steps: int,
    guidance_scale: float,
    controlnet_conditioning_scale: float,
    scheduler: Scheduler,
    tiled: bool = False,
    batch_size: int = 0,
    on_step: OnStep | None = None,
) -> Iterator[Sample]:
    """The pictures of `conditions`, in their order, as each batch is finished.

    Masks must share one size; prompts, negative prompts, seeds and backgrounds may differ. A picture depends on
    its own condition and the settings alone: on CPU in fp32 it is the same within 1/255 in any batch. On CUDA
    every batch has the same shape (the last is padded), because fp16 kernels differ slightly between shapes.

    Conditions with backgrounds (all of them, or none, and of one strength) paint their regions anew and keep the
    rest bit for bit; the strength is the share of the steps that is made, at least one. `tiled`: pictures of any
    size, in overlapping tiles of the model's native size. With either, sides need not be multiples of the model's.

    `batch_size`: pictures (or tiles) per denoising batch; 0 takes the model's own for this device. When CUDA
    memory runs out the batch is halved, the limit is remembered in `loaded`, and the same seeds go on.

    `on_step(done_images, step, steps)` is called after every denoising step: pictures finished before this
    batch, and the step just done, 1 … steps (PNDM takes one more than asked). In tiles it is called after every
    batch of tiles of every step, with step 0 after each tile of a given picture that was encoded, and with the
    last step again after each tile that was decoded. After a halved batch `step` starts at 1 again. Whatever it
    raises, BaseException included, ends the run and leaves `loaded` ready.

    Raises: InvalidInput at once (masks of several sizes, or a size the model cannot make); while iterating,
    NotFinite (NaN or infinity, in fp32 too) and SynthesisError (out_of_memory: one picture does not fit).
    """
    if not conditions:
        return iter(())
    height, width = conditions[0].mask.shape
    if any(condition.mask.shape != (height, width) for condition in conditions):
        raise InvalidInput("All masks of one run must have the same width and height.", code="mixed_sizes")
    strengths = {None if c.background is None else c.background.strength for c in conditions}
    if len(strengths) > 1:
        raise InvalidInput("All backgrounds of one run must have the same strength.", code="mixed_strengths")
    strength = strengths.pop()
    canvas = plan_canvas(loaded.card, width, height, tiled=tiled)
    if not tiled:
        check_size(loaded.card, *((width, height) if strength is None else (canvas.width, canvas.height)))
    on_cuda = loaded.device.type == "cuda"
    settings = Settings(
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        controlnet_conditioning_scale=controlnet_conditioning_scale,
        scheduler=scheduler,
        strength=1.0 if strength is None else strength,
        canvas=canvas,
        largest=batch_size or (loaded.card.batch_size_cuda if on_cuda else loaded.card.batch_size_cpu),
        on_step=on_step,
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


def _run(loaded: LoadedPipeline, conditions: Sequence[Condition], settings: Settings) -> Iterator[Sample]:
    done = 0
    size = (settings.canvas.tile_height, settings.canvas.tile_width)
    while done < len(conditions):
        limit = min(settings.largest, loaded.batch_limits.get(size, settings.largest))
        batch = conditions[done : done + settings.canvas.pictures_at_once(limit)]
        pictures = _make_or_halve(loaded, batch, settings, limit, done)
        if pictures is None:
            continue
        for condition, picture in zip(batch, pictures, strict=True):
            if picture is not None:
                yield Sample(condition, _with_background(condition.background, picture))
        broken = [c for c, picture in zip(batch, pictures, strict=True) if picture is None]
        if broken:
            raise NotFinite(
                f"Picture {broken[0].index} (seed {broken[0].seed}) came out as NaN or infinity, with an "
                "fp32 decoder too. Try another seed, or a smaller guidance or conditioning scale.",
                indices=[condition.index for condition in broken],
            )
        done += len(batch)


def _with_background(background: Background | None, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture if background is None else pasted(background, picture)


def _make_or_halve(
    loaded: LoadedPipeline, batch: Sequence[Condition], settings: Settings, limit: int, done: int
) -> list[NDArray[np.uint8] | None] | None:
    """The pictures of one batch, or None if memory ran out and a smaller batch is to be tried."""
    canvas = settings.canvas
    missing = canvas.pictures_at_once(limit) - len(batch) if loaded.fixed_batch_shape else 0
    padded = [*batch, *[batch[-1]] * missing]
    tiles_at_once = min(len(canvas.tiles), max(1, limit // len(padded)))
    try:
        latents, steps = denoise(loaded, padded, settings, done, tiles_at_once)

        def alive() -> None:
            if settings.on_step is not None:
                settings.on_step(done, steps, steps)

        return [decode(loaded, latents[k : k + 1], canvas, alive) for k in range(len(batch))]
    except torch.OutOfMemoryError as error:
        if len(padded) * tiles_at_once == 1:
            raise SynthesisError(
                "One picture of this size does not fit into the device's memory. Ask for a smaller size.",
                code="out_of_memory",
            ) from error
    # Out of the handler, where the exception's frames no longer hold the batch's tensors.
    fewer = len(padded) * tiles_at_once // 2
    loaded.batch_limits[canvas.tile_height, canvas.tile_width] = fewer
    loaded.oom_halvings += 1
    logger.warning("out of memory with a batch of %d: going on with %d", len(padded) * tiles_at_once, fewer)
    if loaded.device.type == "cuda":
        torch.cuda.empty_cache()
    return None
