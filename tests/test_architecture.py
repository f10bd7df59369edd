"""The floors of the house hold, and the API stays light."""

from __future__ import annotations

import subprocess
import sys
import time
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
    """The contract is 1.5 s on a calm machine; processor time does not count what else the machine is doing."""
    code = "import time; import app.main; print(time.process_time())"
    times = []
    for _ in range(3):
        began = time.monotonic()
        found = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        times.append(min(float(found.stdout), time.monotonic() - began))
    assert min(times) < 1.5, times
