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


def test_the_api_starts_without_what_few_requests_need() -> None:
    """Their imports take a tenth of a second and more each; what the start costs is measured in tests/benchmarks."""
    late = ("cv2", "networkx", "pycocotools", "pyproj", "scipy", "shapely")
    code = f"import sys, app.main; print(*set({late}) & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
