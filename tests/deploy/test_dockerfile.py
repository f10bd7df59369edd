"""The Dockerfile: linted, its sources exist, its commands exist, its images run as nobody in particular."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.cli import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
# One instruction a line, comments gone.
LINES = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.M)).splitlines()


def stage(name: str) -> list[str]:
    """The instructions of one stage."""
    begin = next(
        i for i, line in enumerate(LINES) if line.startswith("FROM") and line.endswith(f" AS {name}")
    )
    after = [i for i, line in enumerate(LINES) if line.startswith("FROM") and i > begin]
    return LINES[begin : after[0] if after else None]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed; it is part of the dev extra where it has a wheel")
    done = subprocess.run(
        [hadolint, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    sources = [
        source
        for line in LINES
        if line.startswith("COPY") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert {"pyproject.toml", "models", "worker", "app", "deploy", "clients/python"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        state = False
        for pattern in ignored:  # the last pattern that matches decides
            if fnmatch.fnmatch(source, pattern.removeprefix("!")):
                state = not pattern.startswith("!")
        assert not state, f"{source} is left out by .dockerignore"


@pytest.mark.parametrize("target", ["api", "worker"])
def test_images_run_an_existing_command_as_an_unprivileged_user(target: str) -> None:
    lines = stage(target)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (command,) = (json.loads(line.removeprefix("CMD ")) for line in lines if line.startswith("CMD "))
    assert command[0] in scripts
    assert command[1] in {found.name or found.callback.__name__ for found in app.registered_commands}
    (user,) = (line.split()[1] for line in lines if line.startswith("USER"))
    assert int(user.split(":")[0]) >= 1000
    assert any(line.startswith("HEALTHCHECK") for line in lines)


def test_the_api_image_has_no_torch_and_every_base_is_pinned() -> None:
    (install,) = (line for line in stage("build-api") if line.startswith("RUN"))
    assert install.endswith("install -c constraints.txt ./clients/python .")
    tags = re.findall(r"^ARG \w*IMAGE=(\S+)", TEXT, flags=re.M)
    assert tags
    assert all(re.search(r":\d+\.\d+\.\d+", tag) for tag in tags)
    stages = set(re.findall(r" AS (\S+)", TEXT))
    for base in re.findall(r"^FROM (\S+)", TEXT, flags=re.M):
        assert base in stages or base == "${PYTHON_IMAGE}"
