"""Images per second of a training step, and what CF-Comp takes of it, each against a second side in one run.

    python -m tests.benchmarks.training_throughput loop [--size 128] [--batch-size 4] [--steps 6] [--repeats 5] …
    python -m tests.benchmarks.training_throughput composition [--size 512] [--batch-size 16] [--repeats 5] …

`loop` has our loop and the logic of diffusers' train_controlnet.py, which is written out below, take turns over the
same model, pairs, batch, trained parts, precision and threads; the ratio is taken within each repetition. Ours
composes and computes the local loss besides. `composition` takes the time in which a batch is matched and composed,
on one thread, beside that of a step of the UNet and its ControlNet on the same machine. Prints tables, or JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from accelerate import Accelerator
from diffusers import AutoencoderTiny, ControlNetModel, DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTextModel, CLIPTokenizer

from models.catalog import NANO_CHECKPOINT, nano_card
from models.cfcomp.dataset import TrainingSet
from models.cfcomp.denoiser import make_denoiser, make_optimizer
from models.cfcomp.listener import StepReport
from models.cfcomp.recipe import MATCH_WITHIN, Recipe, recipe_for
from models.cfcomp.steps import PairSteps, compose_group
from models.cfcomp.trainer import train
from models.cfcomp.vault import FolderVault
from models.synthesis.pipeline import load_pipeline
from tests.models.cfcomp.trainings import Diary, MadePairs


class EnoughError(Exception):
    """A side has made its steps; the checkpoint that would follow is not part of what is measured."""


class Timer(Diary):
    """The clock runs from the first step's end on, which leaves loading and warming up aside."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self.began_at = self.began_cpu = self.seconds = self.cpu_seconds = 0.0

    def stepped(self, report: StepReport) -> None:
        super().stepped(report)
        now, cpu = time.perf_counter(), time.process_time()
        if report.step == 1:
            self.began_at, self.began_cpu = now, cpu
        if report.step == self._steps + 1:
            self.seconds, self.cpu_seconds = now - self.began_at, cpu - self.began_cpu
            raise EnoughError


def recipe_of(size: int, batch_size: int, steps: int) -> Recipe:
    """The ControlNet alone is trained, as in train_controlnet.py."""
    asked: dict[str, Any] = {
        "resolution": size,
        "batch_size": batch_size,
        "steps": steps + 1,
        "checkpoint_every": 100_000,
        "trained": "controlnet",
        "ema_decay": None,
        "learning_rate": 1e-5,
        "warmup_steps": 0,
        "mixed_precision": "no",
    }
    return recipe_for("nano", asked)


def run_ours(pairs: MadePairs, recipe: Recipe) -> tuple[float, float]:
    """Seconds and CPU seconds of all steps but the first."""
    timer = Timer(recipe.steps - 1)
    samples = PairSteps(pairs, recipe)
    with tempfile.TemporaryDirectory() as folder:
        try:
            train(nano_card(), samples, recipe, vault=FolderVault(Path(folder)), listener=timer, device="cpu")
        except EnoughError:
            return timer.seconds, timer.cpu_seconds
    raise AssertionError("the training ended before it was measured")


class PlainDataset(Dataset[dict[str, Any]]):
    """The real samples, as train_controlnet.py's make_train_dataset prepares them: tensors and token ids."""

    def __init__(self, pairs: MadePairs, recipe: Recipe, tokenizer: Any, length: int) -> None:
        self._samples = TrainingSet(pairs, recipe.crops, seed=0)
        self._tokenizer = tokenizer
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self._samples[index // len(self._samples), index % len(self._samples)]
        ids = self._tokenizer(
            sample.text, max_length=77, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids[0]
        picture = torch.from_numpy(sample.picture).permute(2, 0, 1).float() / 127.5 - 1
        control = torch.from_numpy(sample.mask)[None].repeat(3, 1, 1).float() / 255
        return {"pixel_values": picture, "conditioning_pixel_values": control, "input_ids": ids}


def run_plain(pairs: MadePairs, recipe: Recipe) -> tuple[float, float]:
    """train_controlnet.py's loop; seconds and CPU seconds of all steps but the first."""
    base = NANO_CHECKPOINT
    vae = AutoencoderTiny.from_pretrained(base / "vae").float().requires_grad_(False)
    text_encoder = CLIPTextModel.from_pretrained(base / "text_encoder").float().requires_grad_(False)
    unet = UNet2DConditionModel.from_pretrained(base / "unet").float().requires_grad_(False)
    controlnet = ControlNetModel.from_pretrained(base / "controlnet").float().train()
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    noise_scheduler = DDPMScheduler.from_pretrained(base / "scheduler")
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    optimizer = torch.optim.AdamW(
        controlnet.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.999), weight_decay=1e-2
    )
    dataset = PlainDataset(pairs, recipe, tokenizer, recipe.batch_size * recipe.steps)
    loader = DataLoader(dataset, shuffle=True, batch_size=recipe.batch_size, num_workers=0)
    rates = get_scheduler("constant_with_warmup", optimizer, num_warmup_steps=0)
    controlnet, optimizer, loader, rates = accelerator.prepare(controlnet, optimizer, loader, rates)
    began = began_cpu = 0.0
    for number, batch in enumerate(loader):
        with accelerator.accumulate(controlnet):
            latents = vae.encode(batch["pixel_values"]).latents * vae.config.scaling_factor
            noise = torch.randn_like(latents)
            times = torch.randint(0, len(noise_scheduler), (len(latents),)).long()
            noisy = noise_scheduler.add_noise(latents, noise, times)
            text = text_encoder(batch["input_ids"], return_dict=False)[0]
            down, middle = controlnet(
                noisy,
                times,
                encoder_hidden_states=text,
                controlnet_cond=batch["conditioning_pixel_values"],
                return_dict=False,
            )
            predicted = unet(
                noisy,
                times,
                encoder_hidden_states=text,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                return_dict=False,
            )[0]
            target = noise_scheduler.get_velocity(latents, noise, times)
            loss = F.mse_loss(predicted.float(), target.float(), reduction="mean")
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(controlnet.parameters(), 1.0)
            optimizer.step()
            rates.step()
            optimizer.zero_grad(set_to_none=True)
        loss.detach().item()  # its progress bar shows it
        if number == 0:
            began, began_cpu = time.perf_counter(), time.process_time()
    return time.perf_counter() - began, time.process_time() - began_cpu


def measure_loop(size: int, batch_size: int, steps: int, repeats: int) -> dict[str, Any]:
    pairs, recipe = MadePairs(12, min(size, 256)), recipe_of(size, batch_size, steps)
    sides = {"plain": run_plain, "ours": run_ours}
    rates: dict[str, list[float]] = {"plain": [], "ours": []}
    cpu_seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for repeat in range(repeats):
        for side in ("plain", "ours") if repeat % 2 == 0 else ("ours", "plain"):
            seconds, cpu = sides[side](pairs, recipe)
            rates[side].append(batch_size * steps / seconds)
            cpu_seconds[side].append(cpu / (batch_size * steps))
    return {
        "size": size,
        "batch_size": batch_size,
        "steps": steps,
        "torch_threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "images_per_second": rates,
        "cpu_seconds_per_image": cpu_seconds,
        "ratios": [ours / plain for ours, plain in zip(rates["ours"], rates["plain"], strict=True)],
        "cpu_ratios": [
            plain / ours for ours, plain in zip(cpu_seconds["ours"], cpu_seconds["plain"], strict=True)
        ],
    }


def measure_composition(size: int, batch_size: int, repeats: int) -> dict[str, Any]:
    """CPU seconds of composing a batch on one thread, and of one step of ControlNet and UNet, both trained."""
    plain = recipe_of(size, batch_size, 1).model_dump()
    recipe = Recipe.model_validate(plain | {"cf_comp": {"probability": 1}, "trained": "unet"})
    pairs = MadePairs(12, min(size, 256))
    samples = TrainingSet(pairs, recipe.crops, seed=0)
    denoiser = make_denoiser(load_pipeline(nano_card(), device="cpu", dtype=torch.float32), recipe, half=None)
    optimizer = make_optimizer(denoiser, recipe)
    draw = torch.Generator().manual_seed(0)
    composing, stepping, composed = [], [], 0
    for repeat in range(repeats):
        drawn = samples.batch(repeat, batch_size)
        before = time.process_time()
        for group in range(0, batch_size, MATCH_WITHIN):
            found = compose_group(
                drawn[group : group + MATCH_WITHIN], recipe, pairs.frequencies, repeat, group // MATCH_WITHIN
            )
            composed += sum(found.composed)
        composing.append(time.process_time() - before)

        controls = torch.from_numpy(np.stack([sample.mask for sample in drawn]))[:, None].float() / 255
        before = time.process_time()
        for part in range(0, batch_size, 2):  # two at once, so that it fits into a small machine's memory
            control = controls[part : part + 2].repeat(1, 3, 1, 1)
            count = len(control)
            latents = torch.randn(count, 12, size // 8, size // 8, generator=draw)
            times = torch.randint(0, 1000, (count,), generator=draw)
            answer = denoiser(latents, times, torch.randn(count, 77, 64, generator=draw), control)
            (answer.square().mean() * count / batch_size).backward()
        torch.nn.utils.clip_grad_norm_(list(denoiser.trained().values()), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        stepping.append(time.process_time() - before)
    return {
        "size": size,
        "batch_size": batch_size,
        "torch_threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "composites_per_batch": composed / repeats,
        "composing_seconds": composing,
        "step_seconds": stepping,
        "shares": [one / other for one, other in zip(composing, stepping, strict=True)],
    }


def table(report: dict[str, Any]) -> str:
    """Markdown: medians, and the smallest and largest of the repetitions."""

    def row(name: str, numbers: list[float]) -> str:
        return f"| {name} | {statistics.median(numbers):.4g} | {min(numbers):.4g} to {max(numbers):.4g} |"

    said = ", ".join(
        f"{name} {value}" for name, value in report.items() if not isinstance(value, list | dict)
    )
    rows = []
    for name, value in report.items():
        if isinstance(value, list):
            rows.append(row(name, value))
        elif isinstance(value, dict):
            rows += [row(f"{name}, {side}", numbers) for side, numbers in value.items()]
    return "\n".join((said, "", "| | median | range |", "|---|---|---|", *rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="a training step against train_controlnet.py's, and CF-Comp's share"
    )
    parser.add_argument("what", choices=("loop", "composition"))
    parser.add_argument("--size", type=int, default=0, help="pixels; 0: 128 for loop, 512 for composition")
    parser.add_argument("--batch-size", type=int, default=0, help="0: 4 for loop, 16 for composition")
    parser.add_argument("--steps", type=int, default=6, help="of each side and repetition")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, default=1, help="torch threads of both sides; 0: torch's choice"
    )
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    if asked.what == "loop":
        report = measure_loop(asked.size or 128, asked.batch_size or 4, asked.steps, asked.repeats)
    else:
        report = measure_composition(asked.size or 512, asked.batch_size or 16, asked.repeats)
    sys.stdout.write((json.dumps(report) if asked.json else table(report)) + "\n")


if __name__ == "__main__":
    main()
