"""Our training loop is not slower than train_controlnet.py's, and CF-Comp takes next to nothing of a step."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def measured(module: str, *arguments: str) -> Any:
    """What a benchmark prints as JSON, from a process of its own: threads and warm caches belong to a process."""
    result = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments, "--json"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_our_loop_is_not_slower_than_the_plain_one() -> None:
    """In CPU time, which other work on the machine disturbs less; the aim is 1, and noise is forgiven a fifth."""
    report = measured("training_throughput", "loop", "--repeats", "5", "--steps", "6")
    print(report)
    assert len(report["ratios"]) == 5
    assert statistics.median(report["cpu_ratios"]) > 0.8, report


def test_composing_takes_little_of_a_step() -> None:
    report = measured(
        "training_throughput", "composition", "--repeats", "3", "--batch-size", "8", "--size", "256"
    )
    print(report)
    assert report["composites_per_batch"] > 1
    assert statistics.median(report["shares"]) < 0.05, report


def test_the_gpu_s_benchmark_runs_at_toy_size() -> None:
    """Every setting of it, on a CPU, so that it does not fail first on a device that costs money."""
    small = ["--model", "toy", "--device", "cpu", "--size", "64", "--batch-sizes", "2", "--steps", "2"]
    settings = measured("training_gpu", *small, "--trained", "controlnet", "unet", "lora")
    assert len(settings) == 6
    for one in settings:
        assert one["images_per_second"] > 0
        assert 0 < one["share_of_peak"] < 1
        assert one["peak_gib"] is None, "there is no device memory to read"
