"""CF-Comp's training: one loop, the same on one CPU, one GPU, several GPUs and several machines (method, 5)."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel

from models.cfcomp.denoiser import make_denoiser, make_optimizer, prediction_of
from models.cfcomp.devices import share_of, start_accelerator
from models.cfcomp.encoding import Encoder
from models.cfcomp.listener import Listener, StepReport, StopSoon
from models.cfcomp.loss import Prediction, cf_comp_loss, local_weights, min_snr_weights
from models.cfcomp.noise import draw_noise
from models.cfcomp.recipe import Recipe
from models.cfcomp.steps import StepSource
from models.cfcomp.training_state import TrainingState
from models.cfcomp.validation import Validation, validate
from models.cfcomp.vault import Vault, load_checkpoint, save_checkpoint
from models.errors import TrainingFailed
from models.model_card import ModelCard, check_size
from models.rfilter.segmenters import Segmenter
from models.sample import Condition
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from models.synthesis.prompts import PromptCache

MAX_BAD_STEPS = 10  # in a row, whose loss or gradient is not finite: the training ends then
_RECENT = 20  # steps over which speed is averaged
_TEXTS = 1024  # embeddings that are kept


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: the pipeline with the (averaged) weights in place, in float32, and its last reports."""

    loaded: LoadedPipeline
    step: int
    last: StepReport | None
    validation: Validation | None
    is_main: bool


def train(  # noqa: PLR0912, PLR0915  (one loop, read from top to bottom)
    base: ModelCard,
    samples: StepSource,
    recipe: Recipe,
    *,
    vault: Vault,
    listener: Listener,
    conditions: Sequence[Condition] = (),
    segmenter: Segmenter | None = None,
    data: str = "",
    device: str = "auto",
    scratch: Path | None = None,
) -> Trained:
    """Train a ControlNet on real and composed samples, from the base's weights or the vault's newest checkpoint.

    `conditions` are what validations make pictures of. `data` names the training set: a checkpoint belongs to one
    recipe on one training set. `scratch` is a folder for checkpoints on their way. Under `accelerate launch` each
    process trains on its share of every batch; only the main one writes and tells `listener` of more than steps.

    Raises:
        TrainingFailed: batch_not_divisible, mixed_precision_unsupported, training_diverged, checkpoint_not_saved,
            checkpoint_of_another_recipe, optimizer_unavailable, unsupported_prediction.
        InvalidInput: unsupported_size. ModelUnavailable: as `load_pipeline`.
    """
    check_size(base, recipe.resolution, recipe.resolution)
    accelerator, half = start_accelerator(recipe, device)
    share = share_of(recipe.batch_size, accelerator.process_index, accelerator.num_processes)
    parts = recipe.gradient_accumulation_steps
    if len(share) % parts:
        raise TrainingFailed(
            f"Each process has {len(share)} samples of a step, which do not divide into {parts} parts.",
            code="batch_not_divisible",
        )
    loaded = load_pipeline(base, device=str(accelerator.device), dtype=torch.float32)
    loaded.prompts = PromptCache(_TEXTS)
    noises = DDPMScheduler.from_config(dict(loaded.scheduler_config))
    prediction = prediction_of(loaded)
    encoder = Encoder(loaded)
    denoiser = make_denoiser(loaded, recipe, half=half)
    trained = list(denoiser.trained().values())
    averages = None if recipe.ema_decay is None else EMAModel(trained, decay=recipe.ema_decay, foreach=True)
    network, optimizer = accelerator.prepare(denoiser, make_optimizer(denoiser, recipe))
    rates = get_scheduler(
        recipe.lr_schedule.value,
        optimizer.optimizer,
        num_warmup_steps=recipe.warmup_steps,
        num_training_steps=recipe.steps,
    )
    state = TrainingState(denoiser, optimizer.optimizer, rates, averages, accelerator.scaler)
    marked = f"{recipe.digest}:{base.name}@{base.version}:{data}"
    look = partial(
        validate,
        loaded=loaded,
        denoiser=denoiser,
        averages=averages,
        conditions=conditions,
        half=half,
        segmenter=segmenter,
        on_step=lambda *_: listener.working(),
    )
    begun, seen, last, bad = 0, None, None, 0

    with (
        tempfile.TemporaryDirectory(prefix="earthsynth-training-", dir=scratch) as passing,
        ExitStack() as leaving,
    ):
        found = load_checkpoint(vault, marked, scratch=Path(passing), warn=listener.warned)
        if found is not None:
            begun = found[0]
            state.read(found[1])
            shutil.rmtree(found[1])  # as large as all trained weights three times over
        listener.began(begun, recipe.steps)
        clock = _Clock(recipe.steps, recipe.batch_size)
        batches = samples.steps(begun, recipe.steps, share)
        leaving.callback(batches.close)  # or what waits on its threads would still be made
        for number, batch in enumerate(batches, start=begun):
            noise, times, choice = draw_noise(
                recipe.seed, number, batch.places, _latent_shape(loaded, recipe), len(noises)
            )
            noise, times = noise.to(loaded.device), times.to(loaded.device)  # (b, C, h, w), (b,)
            latents = encoder.latents(batch.pictures, choice)  # (b, C, h, w)
            noisy = noises.add_noise(latents, noise, times)  # (b, C, h, w)
            target = noise if prediction is Prediction.EPSILON else noises.get_velocity(latents, noise, times)
            text = encoder.texts(batch.texts)  # (b, 77, D)
            control = encoder.controls(batch.controls)  # (b, 3, H, W)
            masks = torch.from_numpy(batch.masks).to(loaded.device)
            weights = local_weights(masks, (latents.shape[-2], latents.shape[-1]))  # (b, 1, h, w)

            losses = torch.zeros(2, device=loaded.device)
            for part in torch.arange(len(share)).chunk(parts):
                with accelerator.no_sync(network) if part[-1] + 1 < len(share) else nullcontext():
                    with accelerator.autocast():
                        predicted = network(noisy[part], times[part], text[part], control[part])
                    error = (predicted.float() - target[part]).square()  # (b / parts, C, h, w)
                    if recipe.min_snr_gamma is not None:
                        snr = min_snr_weights(
                            noises.alphas_cumprod,
                            times[part],
                            gamma=recipe.min_snr_gamma,
                            prediction=prediction,
                        )
                        error = error * snr[:, None, None, None]
                    loss = cf_comp_loss(error, weights[part], local_weight=recipe.local_loss_weight)
                    accelerator.backward(loss.total / parts)
                losses += torch.stack([loss.whole.detach(), loss.local.detach()]) / parts
            whole, local = accelerator.reduce(losses, "mean").tolist()
            norm = float(accelerator.clip_grad_norm_(trained, recipe.max_grad_norm))

            is_finite = all(math.isfinite(value) for value in (whole, local, norm))
            if accelerator.scaler is None and not is_finite:
                optimizer.zero_grad(set_to_none=True)  # without gradients a step changes nothing
            optimizer.step()  # with a loss scale: skipped, and the scale lowered, where a gradient overflowed
            if is_finite:
                bad = 0
                if averages is not None:
                    averages.step(trained)
            else:
                bad += 1
                listener.warned(f"Step {number + 1} is not finite (loss {whole}, gradient {norm}); left out.")
            if bad >= MAX_BAD_STEPS:
                raise TrainingFailed(
                    f"The loss or its gradient was not finite in {bad} steps in a row, up to step {number + 1}. "
                    "Use a lower learning rate, or mixed_precision no or bf16; the last checkpoint is intact.",
                    code="training_diverged",
                )
            rate = rates.get_last_lr()[0]
            rates.step()
            optimizer.zero_grad(set_to_none=True)

            done = number + 1
            speed, eta = clock.tick(done)
            last = StepReport(done, recipe.steps, whole, local, rate, norm, batch.composed, speed, eta)
            stop: StopSoon | None = None
            try:
                listener.stepped(last)
            except StopSoon as asked:
                stop = asked
            at_end = done == recipe.steps
            is_due = done % recipe.checkpoint_every == 0 or at_end or stop is not None
            if accelerator.is_main_process and is_due:
                listener.working()
                name = save_checkpoint(
                    vault, done, marked, state.write, scratch=Path(passing), keep=recipe.keep_checkpoints
                )
                listener.saved(done, name)
            if stop is not None:
                raise stop
            every = recipe.validation.every
            if accelerator.is_main_process and conditions and every and done % every == 0 and not at_end:
                listener.validated(look(done))
            accelerator.wait_for_everyone()
            clock.rest()

    done = max(begun, recipe.steps)  # the checkpoint may have been further than is asked
    if accelerator.is_main_process and conditions:
        seen = look(done)
        listener.validated(seen)
    if averages is not None:
        averages.copy_to(trained)
    accelerator.end_training()
    return Trained(loaded, done, last, seen, accelerator.is_main_process)


def _latent_shape(loaded: LoadedPipeline, recipe: Recipe) -> tuple[int, int, int]:
    side = recipe.resolution // loaded.pipe.vae_scale_factor
    return loaded.pipe.unet.config.in_channels, side, side


class _Clock:
    """How fast steps go, without the time between them that checkpoints and validations take."""

    def __init__(self, steps: int, batch_size: int) -> None:
        self._steps, self._batch_size = steps, batch_size
        self._took: list[float] = []
        self._since = time.monotonic()

    def tick(self, done: int) -> tuple[float, float]:
        """Return images per second and the seconds that are left, with the step that ends now."""
        self._took = [*self._took[-_RECENT + 1 :], time.monotonic() - self._since]
        each = sum(self._took) / len(self._took)
        return round(self._batch_size / each, 2), round(each * (self._steps - done), 1)

    def rest(self) -> None:
        """The next step begins now."""
        self._since = time.monotonic()
