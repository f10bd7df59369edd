"""The client as a package: light, typed, with two dependencies, and written once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import earthsynth

CLIENT = Path(__file__).parents[2] / "clients" / "python"
HEAVY = (
    *("torch", "fastapi", "starlette", "boto3", "redis", "rq", "numpy", "PIL", "typer"),
    *("app", "worker", "models", "deploy"),
)


def test_it_loads_nothing_of_the_service() -> None:
    code = f"import sys, earthsynth; print([name for name in {HEAVY!r} if name in sys.modules])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CLIENT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_sync_client_is_what_is_made_of_the_async_one() -> None:
    done = subprocess.run(
        [sys.executable, CLIENT / "make_sync.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_all_names_are_there() -> None:
    for name in (*earthsynth.__all__, *(f"types.{name}" for name in earthsynth.types.__all__)):
        found: object = earthsynth
        for part in name.split("."):
            found = getattr(found, part)


def test_the_wheel_is_typed_and_needs_two_packages(tmp_path: Path) -> None:
    pytest.importorskip(
        "setuptools", minversion="77", reason="the wheel is built by the setuptools that is here"
    )
    source = tmp_path / "source"
    shutil.copytree(CLIENT, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    build = "from setuptools import build_meta; import sys; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("earthsynth-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (place,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(place))
    assert {"earthsynth/py.typed", "earthsynth/_sync/client.py", "earthsynth/_async/client.py"} <= names
    assert not [name for name in names if not name.startswith(("earthsynth/", "earthsynth-"))]
    assert metadata["Name"] == "earthsynth"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {line.split(">")[0].split("<")[0] for line in metadata.get_all("Requires-Dist") or ()} == {
        "httpx",
        "pydantic",
    }


def test_the_two_distributions_have_names_of_their_own() -> None:
    root = tomllib.loads((CLIENT.parents[1] / "pyproject.toml").read_text())
    client = tomllib.loads((CLIENT / "pyproject.toml").read_text())
    assert (root["project"]["name"], client["project"]["name"]) == ("earthsynth-service", "earthsynth")
    assert root["project"]["version"] == earthsynth.__version__
