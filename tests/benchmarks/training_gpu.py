"""Images per second, memory and share of the device's arithmetic of trainings at Stable Diffusion 1.5's size.

    python -m tests.benchmarks.training_gpu                                        # one GPU
    python -m tests.benchmarks.training_gpu --model toy --device cpu --size 64 --batch-sizes 2 --steps 2

The weights are random; the loop is `models.cfcomp.trainer.train` itself with CF-Comp, stopped before it would save.
Each setting trains `--steps` steps after two that warm up. FLOPs are those that torch counts in one forward and
backward pass of ControlNet and UNet; what gradient checkpointing computes twice is not counted twice, and autoencoder
and text encoder are not counted at all. Prints a table for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, PNDMScheduler, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.catalog import NANO_CHECKPOINT, earthsynth_card
from models.cfcomp.denoiser import make_denoiser
from models.cfcomp.listener import StepReport
from models.cfcomp.recipe import Recipe, recipe_for
from models.cfcomp.steps import PairSteps
from models.cfcomp.trainer import train
from models.cfcomp.vault import FolderVault
from models.model_card import ModelCard
from models.synthesis.pipeline import load_pipeline
from tests.models.cfcomp.trainings import Diary, MadePairs

WARM_UP = 2  # steps

# Stable Diffusion 1.5 is what diffusers' classes are without settings, but for these.
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "sd15": {
        "unet": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
        "vae": {
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 2,
            "sample_size": 512,
        },
        "text": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
        },
    },
    "toy": {
        "unet": {
            "sample_size": 8,
            "cross_attention_dim": 16,
            "attention_head_dim": 2,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        },
        "vae": {
            "block_out_channels": (8, 8, 8, 8),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "norm_num_groups": 4,
        },
        "text": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
    },
}


@dataclass(frozen=True)
class Setting:
    """One training, and what was measured; nulls where it did not fit into memory. A CPU has no `peak_gib`."""

    trained: str
    precision: str
    batch_size: int
    gradient_checkpointing: bool
    images_per_second: float | None
    slowest_over_median: float | None  # of the steps that were measured
    peak_gib: float | None
    share_of_peak: float | None


class EnoughError(Exception):
    """The steps are done; the checkpoint that would follow is not measured."""


class Timer(Diary):
    """When each step ended; a step's report has read the loss, so the device is done with it."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self.ends: list[float] = []

    def stepped(self, report: StepReport) -> None:
        super().stepped(report)
        self.ends.append(time.perf_counter())
        if report.step == self._steps:
            raise EnoughError


def build(folder: Path, model: str) -> ModelCard:
    """Save random weights of the model's shape, in float16, as a checkpoint."""
    shape = SHAPES[model]
    torch.manual_seed(0)
    shutil.copytree(NANO_CHECKPOINT / "tokenizer", folder / "tokenizer")
    words = len(CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    unet = UNet2DConditionModel(**shape["unet"])
    controlnet = ControlNetModel.from_unet(unet, conditioning_channels=3)
    parts = {"unet": unet, "controlnet": controlnet, "vae": AutoencoderKL(latent_channels=4, **shape["vae"])}
    ends = {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    parts["text_encoder"] = CLIPTextModel(
        CLIPTextConfig(vocab_size=49408, max_position_embeddings=77, **shape["text"], **ends)
    )
    for name, part in parts.items():
        part.half().save_pretrained(folder / name, max_shard_size="100GB")
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return replace(earthsynth_card(str(folder), str(folder)), sha256={})


@contextmanager
def emptied() -> Iterator[None]:
    """Leave nothing of one setting on the device for the next."""
    try:
        yield
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def count_flops(card: ModelCard, recipe: Recipe, device: str) -> float:
    """FLOPs of one sample forward and backward, as torch counts them: two for each multiply and add."""
    with emptied():
        loaded = load_pipeline(card, device=device, dtype=torch.float32)
        denoiser = make_denoiser(
            loaded, recipe.model_copy(update={"gradient_checkpointing": False}), half=None
        )
        side = recipe.resolution // 8
        width = loaded.pipe.unet.config.cross_attention_dim
        counter = FlopCounterMode(display=False)
        with counter:
            answer = denoiser(
                torch.randn(1, 4, side, side, device=loaded.device),
                torch.tensor([500], device=loaded.device),
                torch.randn(1, 77, width, device=loaded.device),
                torch.rand(1, 3, recipe.resolution, recipe.resolution, device=loaded.device),
            )
            answer.square().mean().backward()
        return float(counter.get_total_flops())


def measure(card: ModelCard, recipe: Recipe, device: str, peak_tflops: float, flops: float) -> Setting:
    on_cuda = device != "cpu" and torch.cuda.is_available()
    timer = Timer(recipe.steps)
    pairs = MadePairs(12, min(recipe.resolution, 256))
    samples = PairSteps(pairs, recipe)
    fits = False
    peak = None
    with emptied(), tempfile.TemporaryDirectory() as folder:
        try:
            train(card, samples, recipe, vault=FolderVault(Path(folder)), listener=timer, device=device)
        except EnoughError:
            fits = True
        except torch.OutOfMemoryError:
            pass
        if on_cuda:
            peak = torch.cuda.max_memory_allocated() / 2**30
    took = [
        after - before for before, after in zip(timer.ends[WARM_UP - 1 :], timer.ends[WARM_UP:], strict=False)
    ]
    rate = recipe.batch_size * len(took) / sum(took) if fits else None
    return Setting(
        recipe.trained.value,
        recipe.mixed_precision.value,
        recipe.batch_size,
        recipe.gradient_checkpointing,
        rate,
        max(took) / statistics.median(took) if fits else None,
        peak if fits else None,
        rate * flops / (peak_tflops * 1e12) if rate else None,
    )


def table(settings: list[Setting]) -> str:
    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    head = "| trained | precision | batch | checkpointing | images/s | slowest step / median | peak GiB | share |"
    rows = [
        f"| {one.trained} | {one.precision} | {one.batch_size} | {'yes' if one.gradient_checkpointing else 'no'} "
        f"| {shown(one.images_per_second, '.2f') or 'does not fit'} | {shown(one.slowest_over_median, '.2f')} "
        f"| {shown(one.peak_gib, '.1f')} | {shown(one.share_of_peak, '.1%')} |"
        for one in settings
    ]
    return "\n".join((head, "|" + "---|" * 8, *rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="trainings at Stable Diffusion 1.5's size, with random weights"
    )
    parser.add_argument("--model", choices=tuple(SHAPES), default="sd15")
    parser.add_argument("--device", default="auto", help="auto or cpu")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--trained", nargs="+", default=["controlnet"], help="controlnet, unet, lora")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument(
        "--peak-tflops", type=float, default=790, help="of the device, dense, at this precision"
    )
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    device = "cuda" if asked.device == "auto" and torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True
    settings = []
    with tempfile.TemporaryDirectory() as folder:
        card = build(Path(folder) / "model", asked.model)
        for parts in asked.trained:
            plain = {"trained": parts, "resolution": asked.size, "mixed_precision": asked.precision}
            plain |= {"steps": asked.steps + WARM_UP, "checkpoint_every": 100_000}
            flops = count_flops(card, recipe_for("earthsynth", plain), device)
            sys.stderr.write(f"{parts}: {flops / 1e12:.3f} TFLOP an image, forward and backward\n")
            for batch_size in asked.batch_sizes:
                for checkpointing in (False, True):
                    changes = {"batch_size": batch_size, "gradient_checkpointing": checkpointing}
                    recipe = recipe_for("earthsynth", plain | changes)
                    settings.append(measure(card, recipe, device, asked.peak_tflops, flops))
                    sys.stderr.write(f"{settings[-1]}\n")
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    told = json.dumps([asdict(one) for one in settings]) if asked.json else f"{name}\n\n{table(settings)}"
    sys.stdout.write(told + "\n")


if __name__ == "__main__":
    main()
