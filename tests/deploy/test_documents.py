"""README, Makefile and CI script are in step with the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.settings_table import with_table

MAKE = shutil.which("make") or "make"
ROOT = Path(__file__).parents[2]


def test_the_readme_lists_the_settings_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    assert with_table(text) == text, "run: python -m deploy.settings_table README.md"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "THIRD_PARTY.md"])
def test_links_to_files_of_ours_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / name).read_text()):
        if "://" not in target:
            assert (ROOT / target).exists(), f"{name} links to {target}"


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.M)
    shown = subprocess.run(
        [MAKE, "--no-print-directory", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"^  make (\w+) +\S", shown, flags=re.M) == phony.split()


def test_make_says_which_python_it_needs(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [MAKE, "-C", str(tmp_path), "install", f"PYTHON={old}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"error: Python 3.11 or newer is needed, {old} is Python 3.9.2" in done.stderr


def test_ci_runs_check_test_and_demo() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"^make (\w+)", script.read_text(), flags=re.M)[:3] == ["check", "test", "demo"]
