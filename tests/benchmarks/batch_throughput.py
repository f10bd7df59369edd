"""Pictures per second: this service's batch path against the plain loop of EarthSynth's test.py, in one run.

    python -m tests.benchmarks.batch_throughput [--pictures 8] [--steps 20] [--repeats 5] [--batch-size 0] …

Both sides have the same weights, masks, prompts, steps, guidance, precision, device and threads, and take
turns: each repetition measures both, in alternating order, so that a busy machine slows both. The ratio is
taken within each repetition. Prints a table for docs/benchmarks.md, or JSON with --json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, UniPCMultistepScheduler
from PIL import Image

from models.catalog import earthsynth_card, nano_card
from models.categories import caption
from models.model_card import ModelCard, Scheduler
from models.sample import Condition
from models.synthesis.pipeline import LoadedPipeline, load_pipeline
from models.synthesis.prompts import PromptCache
from models.synthesis.synthesize import synthesize

GUIDANCE_SCALE = 7.5  # what test.py gets by not naming one


@dataclass(frozen=True)
class Report:
    """Pictures per second of both sides, one number per repetition, and what they were measured on."""

    model: str
    device: str
    dtype: str
    width: int
    height: int
    pictures: int
    steps: int
    batch_size: int
    torch_threads: int
    machine: str
    versions: str
    load_average: float
    plain: list[float]
    service: list[float]
    plain_cpu_seconds: list[float]  # of this process per picture, which a busy machine disturbs less
    service_cpu_seconds: list[float]

    @property
    def ratios(self) -> list[float]:
        return [service / plain for plain, service in zip(self.plain, self.service, strict=True)]


def make_conditions(card: ModelCard, count: int) -> list[Condition]:
    """Masks of three blocks each, at the model's native size, with their captions."""
    random = np.random.default_rng(1)
    conditions = []
    for index in range(count):
        mask = np.zeros((card.native_height, card.native_width), np.uint8)
        for category_id in random.choice(card.category_ids, 3):
            top, left = random.integers(0, (card.native_height // 2, card.native_width // 2))
            mask[top : top + card.native_height // 3, left : left + card.native_width // 3] = category_id
        conditions.append(Condition(index, mask, caption(np.unique(mask).tolist()), seed=index))
    return conditions


def load_plain(card: ModelCard, loaded: LoadedPipeline) -> Any:
    """The pipeline as test.py makes it, on the files, device and precision of `loaded`."""
    controlnet = ControlNetModel.from_pretrained(
        card.controlnet, subfolder=card.controlnet_subfolder, dtype=loaded.dtype, use_safetensors=True
    )
    pipe = StableDiffusionControlNetPipeline.from_pretrained(
        card.base, controlnet=controlnet, safety_checker=None, dtype=loaded.dtype, use_safetensors=True
    )
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(loaded.device)


def run_plain(pipe: Any, conditions: list[Condition], steps: int) -> list[Any]:
    """test.py's loop: one call and one picture at a time, the prompt encoded each time."""
    pictures = []
    for condition in conditions:
        control = Image.fromarray(np.stack([condition.mask] * 3, axis=-1))
        pictures.append(
            pipe(condition.prompt, num_inference_steps=steps, generator=None, image=control).images[0]
        )
    return pictures


def run_service(
    loaded: LoadedPipeline, conditions: list[Condition], steps: int, batch_size: int
) -> list[Any]:
    """The worker's path, with an empty prompt cache, so that its encoding is counted."""
    loaded.prompts = PromptCache()
    samples = synthesize(
        loaded,
        conditions,
        num_inference_steps=steps,
        guidance_scale=GUIDANCE_SCALE,
        controlnet_conditioning_scale=1.0,
        scheduler=Scheduler.UNIPC,
        batch_size=batch_size,
        on_step=lambda _done, _step, _steps: None,
    )
    return [sample.image for sample in samples]


def measure(
    card: ModelCard, *, pictures: int, steps: int, repeats: int, batch_size: int, device: str
) -> Report:
    loaded = load_pipeline(card, device=device)
    plain = load_plain(card, loaded)
    conditions = make_conditions(card, pictures)
    chosen = batch_size or (card.batch_size_cuda if loaded.fixed_batch_shape else card.batch_size_cpu)

    run_plain(plain, conditions[:1], 2)  # first calls allocate and choose kernels
    run_service(loaded, conditions[:chosen], 2, chosen)
    rates: dict[str, list[float]] = {"plain": [], "service": []}
    cpu_seconds: dict[str, list[float]] = {"plain": [], "service": []}
    for repeat in range(repeats):
        for side in ("plain", "service") if repeat % 2 == 0 else ("service", "plain"):
            start, cpu_start = time.perf_counter(), time.process_time()
            if side == "plain":
                made = run_plain(plain, conditions, steps)
            else:
                made = run_service(loaded, conditions, steps, chosen)
            rates[side].append(len(made) / (time.perf_counter() - start))
            cpu_seconds[side].append((time.process_time() - cpu_start) / len(made))
    return Report(
        model=f"{card.name}@{card.version}",
        device=torch.cuda.get_device_name() if loaded.device.type == "cuda" else "cpu",
        dtype=str(loaded.dtype).removeprefix("torch."),
        width=card.native_width,
        height=card.native_height,
        pictures=pictures,
        steps=steps,
        batch_size=chosen,
        torch_threads=torch.get_num_threads(),
        machine=_machine(),
        versions=f"Python {platform.python_version()}, torch {torch.__version__}, diffusers "
        f"{diffusers.__version__}, transformers {transformers.__version__}",
        load_average=round(os.getloadavg()[0], 1),
        plain=rates["plain"],
        service=rates["service"],
        plain_cpu_seconds=cpu_seconds["plain"],
        service_cpu_seconds=cpu_seconds["service"],
    )


def _machine() -> str:
    processors = Path("/proc/cpuinfo")
    names = (
        {line.split(":")[1].strip() for line in processors.read_text().splitlines() if "model name" in line}
        if processors.exists()
        else {platform.processor()}
    )
    return f"{len(os.sched_getaffinity(0))} cores of {', '.join(sorted(names))}"


def table(report: Report) -> str:
    """Markdown: medians, and the smallest and largest of the repetitions."""

    def row(name: str, numbers: list[float]) -> str:
        return f"| {name} | {statistics.median(numbers):.3f} | {min(numbers):.3f} to {max(numbers):.3f} |"

    return "\n".join(
        (
            f"{report.model}, {report.width} x {report.height}, {report.pictures} pictures, {report.steps} UniPC "
            f"steps, guidance {GUIDANCE_SCALE}, {report.dtype} on {report.device} ({report.machine}), "
            f"{report.torch_threads} torch threads, batch {report.batch_size}; {len(report.plain)} repetitions; "
            f"load average at the end {report.load_average}; {report.versions}",
            "",
            "| | median | range |",
            "|---|---|---|",
            row("plain loop, pictures/s", report.plain),
            row("service, pictures/s", report.service),
            row("ratio", report.ratios),
            row("plain loop, CPU seconds per picture", report.plain_cpu_seconds),
            row("service, CPU seconds per picture", report.service_cpu_seconds),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="service batch path against EarthSynth's plain loop")
    parser.add_argument("--model", choices=("nano", "earthsynth"), default="nano")
    parser.add_argument("--base", default=earthsynth_card().base, help="earthsynth: hub id or folder")
    parser.add_argument(
        "--controlnet", default=earthsynth_card().controlnet, help="earthsynth: hub id or folder"
    )
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=0, help="0: the model's own")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--threads", type=int, default=0, help="torch threads of both sides; 0: torch's choice"
    )
    parser.add_argument("--json", action="store_true", help="print every number as JSON instead of a table")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    card = nano_card() if asked.model == "nano" else earthsynth_card(asked.base, asked.controlnet)
    report = measure(
        card,
        pictures=asked.pictures,
        steps=asked.steps,
        repeats=asked.repeats,
        batch_size=asked.batch_size,
        device=asked.device,
    )
    sys.stdout.write((json.dumps(asdict(report)) if asked.json else table(report)) + "\n")


if __name__ == "__main__":
    main()
