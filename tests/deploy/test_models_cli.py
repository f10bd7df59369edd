"""`earthsynth models …` against a running service: name@version on stdout, words on stderr, exit codes."""

from __future__ import annotations

import re
import subprocess
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy import ports
from deploy.cli import app
from deploy.localstack import LocalStack
from tests.conftest import settings_of
from tests.worker.published import publish, registry_of
from worker.storage import Storage


@pytest.fixture
def farm(service: LocalStack, tmp_path: Path) -> str:
    """The name of a model with two versions in the running service's registry; they are never loaded."""
    name = f"farm-{uuid.uuid4().hex[:8]}"
    for content in ("one", "two"):
        (tmp_path / "model_index.json").write_text(content)
        publish(registry_of(Storage(settings_of(service))), name, tmp_path)
    return name


def run(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    done = CliRunner().invoke(app, ["models", *words], env={"EARTHSYNTH_URL": url, "NO_PROXY": "127.0.0.1"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def test_models_are_listed_promoted_and_rolled_back(service: LocalStack, farm: str) -> None:
    url = service.api_url
    assert run(url, "promote", f"{farm}@1").stdout == f"{farm}@1\n"
    table = run(url, "list").stdout
    assert re.search(
        rf"^{farm}@1 +{farm} +\d{{4}}-\d\d-\d\d \d\d:\d\d +nano@2 +256 x 256 +bare land, ", table, re.M
    )
    assert re.search(rf"^{farm}@2 +\d{{4}}-", table, re.M)
    assert re.search(r"^nano@2 +nano, default +shipped +256 x 256 ", table, re.M)
    assert run(url, "rollback", farm).stdout == f"{farm}@2\n"
    again = run(url, "rollback", farm)
    assert (again.returncode, again.stdout) == (1, "")
    assert "[nothing_to_roll_back]" in again.stderr


def test_the_default_is_set_and_taken_back(service: LocalStack, farm: str) -> None:
    assert run(service.api_url, "default", f"{farm}@1").stdout == f"{farm}@1\n"
    assert run(service.api_url, "default", "--rollback").stdout == "nano@2\n"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["promote", "farm"], 2, "say which version"),
        (["default"], 2, "say a model, or --rollback"),
        (["default", "nano", "--rollback"], 2, "say a model, or --rollback"),
        (["promote", "nano@2"], 1, "[model_shipped]"),
        (["default", "wood"], 1, "[unknown_model]"),
    ],
)
def test_what_is_refused(service: LocalStack, words: list[str], code: int, sentence: str) -> None:
    done = run(service.api_url, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr


def test_nobody_answers() -> None:
    done = run(f"http://127.0.0.1:{ports.choose(1)[0]}", "rollback", "farm")
    assert done.returncode == 5
    assert "is not reachable" in done.stderr
