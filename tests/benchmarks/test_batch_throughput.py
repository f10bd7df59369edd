"""The service's batch path is not slower than a plain loop over the same pipeline."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_batch_path_is_not_slower_than_the_plain_loop() -> None:
    """A process of its own, because torch's thread count and warm caches belong to a process."""
    arguments = ["--pictures", "4", "--steps", "5", "--repeats", "3", "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.batch_throughput", *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=800,
    )
    report = json.loads(result.stdout)
    ratios = [service / plain for plain, service in zip(report["plain"], report["service"], strict=True)]
    assert len(ratios) == 3
    assert statistics.median(ratios) > 1.0, report
