"""Where a training runs: its device and arithmetic, and each process's share of a batch."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from models.cfcomp.recipe import Precision, Recipe
from models.errors import TrainingFailed


def start_accelerator(recipe: Recipe, device: str) -> tuple[Accelerator, torch.dtype | None]:
    """Return the accelerator of this process, and the type in which networks compute (None: float32).

    Raises:
        TrainingFailed: code "mixed_precision_unsupported".
    """
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    precision = recipe.mixed_precision
    if precision is Precision.AUTO:
        precision = Precision.NO
        if not on_cpu:
            precision = Precision.BF16 if torch.cuda.is_bf16_supported() else Precision.FP16
    if precision is Precision.FP16 and on_cpu:
        raise TrainingFailed(
            "mixed_precision fp16 needs a GPU; on a CPU ask for no or bf16.",
            code="mixed_precision_unsupported",
        )
    AcceleratorState._reset_state()  # one process may train several models, one after the other
    accelerator = Accelerator(mixed_precision=precision.value, cpu=on_cpu)
    half = {Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}.get(precision)
    return accelerator, half


def share_of(batch_size: int, process: int, processes: int) -> range:
    """Return the places of a step's batch that a process trains on.

    Raises:
        TrainingFailed: code "batch_not_divisible".
    """
    if batch_size % processes:
        raise TrainingFailed(
            f"A batch of {batch_size} samples does not divide among {processes} processes.",
            code="batch_not_divisible",
        )
    size = batch_size // processes
    return range(process * size, (process + 1) * size)
