"""The command line as people use it: one clear line when something is wrong, the whole stack when nothing is."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy import ports
from tests.waiting import until

EARTHSYNTH = [sys.executable, "-m", "deploy.cli"]


def run(
    *words: str, env: dict[str, str] | None = None, seconds: float = 30
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EARTHSYNTH, *words],
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def test_importing_the_command_line_loads_no_torch() -> None:
    program = "import sys, deploy.cli; print(sorted({'torch', 'diffusers', 'fastapi'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_version_and_models() -> None:
    assert re.fullmatch(r"earthsynth \d+\.\d+\.\d+\n", run("--version").stdout)
    table = run("models").stdout
    assert re.search(
        r"^nano@\S+ +default +256 x 256 +bare land, road, tree, water, building +[0-9a-f]{16} ", table, re.M
    )
    assert re.search(r"^earthsynth@\S+ +no +512 x 512 +66: .*jaychempan/EarthSynth", table, re.M)


@pytest.mark.parametrize(
    ("words", "env", "sentence"),
    [
        (["serve"], {"EARTHSYNTH_PORT": "70000"}, r"error: EARTHSYNTH_PORT: .*65535"),
        (["work"], {"EARTHSYNTH_DEVICE": "tpu"}, r"error: EARTHSYNTH_DEVICE: .*'cuda'"),
    ],
)
def test_wrong_settings_are_one_line(words: list[str], env: dict[str, str], sentence: str) -> None:
    done = run(*words, env=env)
    assert done.returncode == 1
    assert re.fullmatch(sentence + r".*\n", done.stderr), done.stderr


def test_up_on_a_used_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        done = run("up", "--port", str(port), "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: port {port} is in use")
    assert done.stderr.count("\n") == 1


def test_wrong_words_exit_2_without_a_traceback() -> None:
    for words in (["nonsense"], ["up", "--port", "0"], ["up", "--workers", "x"]):
        done = run(*words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


@pytest.mark.timeout(400)
def test_up_serves_and_stops_in_order_even_with_sigint_ignored_by_the_shell(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The whole stack: ready, torch only in the worker, kill -9 of any part repaired, Ctrl-C ends all."""
    (port,) = ports.choose(1)
    words = ["up", "--port", str(port), "--data", str(tmp_path)]
    up = subprocess.Popen(
        ["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh", *EARTHSYNTH, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    request.addfinalizer(lambda: _end(up))
    assert up.stdout is not None
    assert up.stderr is not None
    assert up.stdout.readline() == f"ready http://127.0.0.1:{port}\n", up.stderr.read()

    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

        def listed() -> dict[str, Any] | None:
            items = client.get("/v1/workers").json()["items"]
            return {one["queue"]: one for one in items} if len(items) == 3 else None

        workers = until(listed, seconds=30)
        worker, trainer, sender = (workers[queue] for queue in ("generation", "training", "webhook"))
        assert (worker["status"], worker["model"]["name"]) == ("ready", "nano")
        assert trainer["model"] is sender["model"] is None
        family = psutil.Process(up.pid).children(recursive=True)
        for one in workers.values():
            assert one["pid"] in {process.pid for process in family}
            assert "earthsynth-" in " ".join(psutil.Process(one["pid"]).cmdline())
        for one in (trainer, sender):  # a trainer loads it with its first training
            assert not any("torch" in found.path for found in psutil.Process(one["pid"]).memory_maps())
        (api,) = (process for process in family if "serve" in process.cmdline())
        assert not any("torch" in found.path for found in api.memory_maps())

        api.kill()
        deadline = time.monotonic() + 20
        while not _alive(client):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    family = psutil.Process(up.pid).children(recursive=True)
    began = time.monotonic()
    up.send_signal(signal.SIGINT)
    out, err = up.communicate(timeout=60)
    assert up.returncode == 0, out + err
    assert time.monotonic() - began < 12
    assert "api ended with exit code -9; starting it again" in err
    assert err.endswith("stopped\n")
    assert not [process for process in family if process.is_running()]


def _end(up: subprocess.Popen[str]) -> None:
    """Ends it where the test has failed before."""
    if up.poll() is None:
        up.kill()
        up.communicate()


def _alive(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_calibrate_without_pairs_is_one_line(tmp_path: Path) -> None:
    done = run("calibrate", "--data", str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "no real pairs" in done.stderr
