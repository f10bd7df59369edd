"""`earthsynth dataset …` as shells use it: ids on stdout, words on stderr, exit codes; against the real service."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from deploy import ports
from deploy.cli import app
from deploy.localstack import LocalStack
from deploy.readiness import api_is_ready
from tests.conftest import settings_of
from tests.pictures import png, road_and_buildings
from tests.waiting import until
from worker.layout import LOCAL_TENANT
from worker.storage import Storage

SIDE = 64
SPEC: dict[str, Any] = {
    "width": SIDE,
    "height": SIDE,
    "num_inference_steps": 2,
    "filter": {"policy": "off"},
    "seed": 5,
    "splits": {"train": 1.0},
}
BAD = np.full((SIDE, SIDE), 90, np.uint8)


def words(url: str, *rest: str) -> tuple[list[str], dict[str, str]]:
    env = os.environ | {"EARTHSYNTH_URL": url, "NO_PROXY": "127.0.0.1"}
    return [sys.executable, "-m", "deploy.cli", "dataset", *rest], env


def run(url: str, *rest: str) -> subprocess.CompletedProcess[str]:
    command, env = words(url, *rest)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)


def invoke(url: str, *rest: str) -> subprocess.CompletedProcess[str]:
    """The same within this process, where no second start of Python is worth its time."""
    command, env = words(url, *rest)
    done = CliRunner().invoke(app, command[3:], env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(SPEC))
    return path


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    (folder / "south").mkdir(parents=True)
    (folder / "a.png").write_bytes(png(road_and_buildings(SIDE)))
    (folder / "south" / "b.png").write_bytes(png(np.roll(road_and_buildings(SIDE), 9, axis=0)))
    (folder / ".hidden").write_text("left out")
    return folder


@pytest.mark.timeout(240)
def test_from_a_folder_of_masks_to_a_folder_of_labels(
    service: LocalStack, client: httpx.Client, spec: Path, masks: Path, tmp_path: Path
) -> None:
    url, out = service.api_url, tmp_path / "out"
    options = ["--samples-per-mask", "2", "--name", "two masks", "--format", "semantic"]
    made = run(url, "create", "--masks", str(masks), "--spec", str(spec), *options, "--watch", "--strict")
    assert made.returncode == 0, made.stderr
    dataset_id = made.stdout.strip()
    view = client.get(f"/v1/datasets/{dataset_id}").json()
    assert (view["name"], view["job"]["counts"]["accepted"]) == ("two masks", 4)
    assert "packed 2 files" in made.stderr
    assert "2 masks from 2 files" in made.stderr
    (row,) = (line for line in made.stderr.splitlines() if line.startswith("road"))
    assert row.split() == ["road", "4", "4", "100%", "none"]
    assert made.stderr.endswith(f"{dataset_id}: 4 of 4 samples accepted, 0 exhausted, 0 failed\n")

    exported = run(url, "export", dataset_id, "--format", "coco", "--include-stuff", "--split", "whole=1")
    assert exported.returncode == 0, exported.stderr
    export_id = exported.stdout.strip()
    assert "coco: 4 pictures, " in exported.stderr

    fetched = run(url, "download", dataset_id, export_id, "--out", str(out), "--extract")
    assert fetched.returncode == 0, fetched.stderr
    folder = out / f"coco-{export_id}"
    assert fetched.stdout == f"{folder}\n"
    api = client.get(f"/v1/datasets/{dataset_id}/exports/{export_id}").json()
    archive = folder.with_suffix(".zip").read_bytes()
    assert hashlib.sha256(archive).hexdigest() == api["archive"]["sha256"]
    labels = json.loads((folder / "annotations" / "instances_whole.json").read_text())
    assert (len(labels["images"]), len(labels["annotations"])) == (4, api["annotations"])
    assert all((folder / "images" / "whole" / image["file_name"]).is_file() for image in labels["images"])

    again = invoke(url, "download", dataset_id, export_id, "--out", str(out))
    assert (again.returncode, again.stdout) == (0, f"{folder}.zip\n")
    assert "is there already" in again.stderr
    ranged = httpx.get(api["archive"]["url"], headers={"Range": "bytes=1000-"}, trust_env=False)
    assert (ranged.status_code, ranged.content) == (206, archive[1000:]), "the storage can go on"
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / f"{folder.name}.zip.part").write_bytes(archive[:1000])
    later = invoke(url, "download", dataset_id, export_id, "--out", str(tmp_path / "later"))
    assert Path(later.stdout.strip()).read_bytes() == archive
    own = invoke(url, "download", dataset_id, "--format", "semantic", "--out", str(out))
    assert own.returncode == 0, own.stderr
    with zipfile.ZipFile(own.stdout.strip()) as found:
        assert len(found.read("manifest.jsonl").splitlines()) == 4
    absent = invoke(url, "download", dataset_id, "--format", "voc", "--out", str(out))
    assert absent.returncode == 1
    assert absent.stderr.startswith(f"error: {dataset_id} has no usable export in the format voc; make one:")


@contextlib.contextmanager
def in_foreground(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that Ctrl-C reaches, also where these tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_leaves_the_job_and_a_canceled_job_is_3(
    service: LocalStack, client: httpx.Client, spec: Path, masks: Path
) -> None:
    made = invoke(
        service.api_url, "create", "--masks", str(masks), "--spec", str(spec), "--samples-per-mask", "500"
    )
    assert made.returncode == 0, made.stderr
    job_id = made.stdout.strip()
    command, env = words(service.api_url, "watch", job_id)
    with in_foreground(command, env) as watching:
        assert watching.stderr is not None
        first = watching.stderr.readline()
        assert "/1000, " in first
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert f"stopped watching; {job_id} goes on" in said
    assert "Traceback" not in said
    assert client.get(f"/v1/jobs/{job_id}").json()["status"] in {"queued", "running"}
    assert client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    ended = invoke(service.api_url, "watch", job_id)
    assert ended.returncode == 3
    assert f"{job_id} was canceled" in ended.stderr


def test_strict_says_what_is_missing(service: LocalStack, spec: Path, masks: Path) -> None:
    """No picture has 9 bits of entropy a pixel: every try fails R1."""
    impossible = {"policy": "balanced", "max_tries": 1, "thresholds": {"technical": 9}}
    spec.write_text(json.dumps(SPEC | {"filter": impossible}))
    options = ["--spec", str(spec), "--samples-per-mask", "1", "--watch", "--strict"]
    made = invoke(service.api_url, "create", "--masks", str(masks), *options)
    job_id = made.stdout.strip()
    assert made.returncode == 4, made.stderr
    (row,) = (line for line in made.stderr.splitlines() if line.startswith("building"))
    assert row.split()[:4] == ["building", "2", "0", "0%"]
    assert "technical 2" in row
    assert "warning: building: only 0% of its tries were accepted" in made.stderr
    last = f"{job_id} is incomplete: 0 of 2 samples accepted, 2 exhausted, 0 failed\n"
    assert made.stderr.endswith(last)
    assert invoke(service.api_url, "watch", job_id).returncode == 0, "without --strict it is done"
    refused = invoke(service.api_url, "export", job_id, "--format", "coco")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith("[dataset_empty]\n")


def test_refused_masks_are_listed(service: LocalStack, spec: Path, tmp_path: Path) -> None:
    path = tmp_path / "masks.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("good.png", png(road_and_buildings(SIDE)))
        out.writestr("bad.png", png(BAD))
        out.writestr("readme.txt", "hello")
    options = ["--masks", str(path), "--spec", str(spec), "--samples-per-mask", "1"]
    refused = invoke(service.api_url, "create", *options)
    assert (refused.returncode, refused.stdout) == (1, "")
    summary, *lines = refused.stderr.splitlines()[1:]
    assert summary.startswith("error: 2 of 3 files cannot be used")
    assert summary.endswith("[masks_refused]")
    assert [line.split(": ")[:2] for line in sorted(lines)] == [
        ["  /bad.png", "unknown_label"],
        ["  /readme.txt", "unsupported_format"],
    ]
    partly = invoke(service.api_url, "create", *options, "--partial", "--model", "dalle")
    assert (partly.returncode, partly.stdout) == (1, "")
    assert "1 masks from 1 files" in partly.stderr
    assert "refused bad.png: unknown_label: " in partly.stderr
    assert "[unknown_model]\n" in partly.stderr


def test_masks_by_prefix_and_by_id(service: LocalStack, client: httpx.Client, spec: Path) -> None:
    key = f"{LOCAL_TENANT}/imports/cli/one.png"
    Storage(settings_of(service)).create(key, png(road_and_buildings(SIDE)), "image/png")
    stop = ["--spec", str(spec), "--samples-per-mask", "1", "--model", "dalle"]
    imported = invoke(service.api_url, "create", "--masks", "prefix:imports/cli", *stop)
    assert imported.returncode == 1
    assert "[unknown_model]" in imported.stderr
    set_id = imported.stderr.partition("mask set ")[2].partition(":")[0]
    assert client.get(f"/v1/mask-sets/{set_id}").json()["masks"] == 1
    known = invoke(service.api_url, "create", "--masks", set_id, *stop)
    assert "[unknown_model]" in known.stderr
    assert known.stderr.startswith("error: "), "nothing is uploaded"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--masks", "nowhere.zip", "--samples-per-mask", "1"], "no such file or folder"),
        (["--masks", "mset_" + "0" * 64, "--samples-per-mask", "1", "--tile-size", "64"], "tile_size"),
        (["--masks", "prefix:other/", "--samples-per-mask", "1"], "/prefix: "),
        (["--masks", ".", "--samples-per-mask", "1", "--encoding", "jpeg"], "/encoding: "),
        (["--masks", "."], "samples_per_mask and goal"),
        (["--masks", ".", "--goal", "road"], "NAME=NUMBER"),
        (["--masks", ".", "--goal", "road=many"], "'many' is no number"),
        (["--masks", ".", "--goal", "road=0"], "/goal/accepted_per_category/road: "),
        (["--masks", ".", "--goal", "road=3", "--samples-per-mask", "1"], "not both"),
        (["--masks", ".", "--samples-per-mask", "1", "--policy", "kind"], "/filter/policy: "),
        (["--masks", ".", "--samples-per-mask", "1", "--scale", "2", "1"], "/conditions/scale: "),
        (["--samples-per-mask", "1"], "/masks: "),
    ],
)
def test_wrong_usage_sends_nothing(options: list[str], said: str) -> None:
    """No service is there: whatever is sent would end with 5."""
    (port,) = ports.choose(1)
    done = invoke(f"http://127.0.0.1:{port}", "create", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_no_service_is_5_and_no_job_is_1(service: LocalStack) -> None:
    (port,) = ports.choose(1)
    gone = invoke(f"http://127.0.0.1:{port}", "watch", "job_00000000000000000000000000")
    assert gone.returncode == 5
    assert gone.stderr.splitlines()[-1].startswith(f"error: http://127.0.0.1:{port} is not reachable")
    absent = invoke(service.api_url, "watch", "job_00000000000000000000000000")
    assert (absent.returncode, absent.stderr) == (1, "error: There is no such job. [job_not_found]\n")


@contextlib.contextmanager
def another_api(service: LocalStack, port: int) -> Iterator[str]:
    """One more API of that service, on a port of its own, until it is killed at the block's end."""
    env = os.environ | service.environment | {"EARTHSYNTH_PORT": str(port)}
    api = subprocess.Popen([sys.executable, "-m", "deploy.cli", "serve"], env=env)
    try:
        until(lambda: api_is_ready(f"http://127.0.0.1:{port}"), seconds=30)
        yield f"http://127.0.0.1:{port}"
    finally:
        api.kill()
        api.wait()


def test_a_watch_survives_an_api_that_is_away(
    service: LocalStack, client: httpx.Client, spec: Path, masks: Path
) -> None:
    """The API is killed while a job is watched, and comes again."""
    (port,) = ports.choose(1)
    with another_api(service, port) as url:
        made = invoke(url, "create", "--masks", str(masks), "--spec", str(spec), "--samples-per-mask", "20")
        job_id = made.stdout.strip()
        command, env = words(url, "watch", job_id)
        watching = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert watching.stderr is not None
        assert watching.stderr.readline()
    told = watching.stderr.readline()
    while "Trying again for 120 s" not in told:
        assert told, "it gave up"
        told = watching.stderr.readline()
    with another_api(service, port):
        _, said = watching.communicate(timeout=120)
    assert watching.returncode == 0, said
    assert said.endswith(f"{job_id}: 40 of 40 samples accepted, 0 exhausted, 0 failed\n")
