"""What the API's start costs beside that of the few large libraries it is made of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGE = "fastapi, boto3, redis.asyncio, rq, numpy, structlog, httpx, pydantic_settings, limits, obstore.store"
REPEATS = 5


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_api_imports_quickly(tmp_path: Path) -> None:
    """With its 230 pydantic models, its 60 routes and all that they need: at most twice the libraries alone."""
    ratios = []
    for _ in range(REPEATS + 1):  # the first writes the bytecode
        libraries, whole = (_seconds_to_import(modules, tmp_path) for modules in (LARGE, "app.main"))
        ratios.append(whole / libraries)
    best = min(ratios[1:])
    print(f"app.main / libraries: {best:.2f} at best, {max(ratios[1:]):.2f} at worst of {REPEATS}")
    assert best < 2


def _seconds_to_import(modules: str, bytecode: Path) -> float:
    """Processor time, which does not count what else the machine is doing."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found = subprocess.run(
        [sys.executable, "-c", f"import time, {modules}; print(time.process_time())"],
        cwd=ROOT,
        env=environment | {"PYTHONPYCACHEPREFIX": str(bytecode)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(found.stdout)
