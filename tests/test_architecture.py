"""The floors of the house hold, and the API stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIGHT = [
    *(
        "app.main",
        "deploy.cli",
        "worker.intake",
        "worker.main",
        "worker.training_preview",
        "worker.webhook_process",
    ),
    *("models.masks", "models.catalog", "models.cfcomp.preview", "models.cfcomp.shards"),
]


def test_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("module", LIGHT)
def test_these_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('torch', 'diffusers', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_api_imports_quickly() -> None:
    """Its own modules and all that they need cost at most twice what its few large libraries do."""
    large = (
        "fastapi, boto3, redis.asyncio, rq, numpy, structlog, httpx, pydantic_settings, limits, obstore.store"
    )
    ours, theirs = (min(_seconds_to_import(modules) for _ in range(3)) for modules in ("app.main", large))
    assert ours < 2 * theirs, (ours, theirs)


def _seconds_to_import(modules: str) -> float:
    """Processor time, which does not count what else the machine is doing."""
    code = f"import time, {modules}; print(time.process_time())"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(found.stdout)
