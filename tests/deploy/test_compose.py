"""The compose file says what really runs: every command is started here, with its environment, on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from deploy import ports, seaweedfs, valkey
from deploy.child import Child
from tests.deploy.compose_file import ROOT, load_services, read_env
from worker.settings import Settings

SECRETS = {"VALKEY_PASSWORD": "valkeysecret", "S3_ACCESS_KEY": "ACCESS", "S3_SECRET_KEY": "s3secret"}
OURS = ("api", "worker", "training-worker", "webhook-worker")


@pytest.fixture
def env() -> dict[str, str]:
    return read_env((ROOT / ".env.example").read_text()) | SECRETS


def test_the_file_refuses_to_start_without_secrets(env: dict[str, str]) -> None:
    for name in SECRETS:
        with pytest.raises(KeyError, match=name):
            load_services(env | {name: ""})


def test_our_services_are_locked_down_and_their_settings_exist(env: dict[str, str]) -> None:
    services = load_services(env)
    stages = re.findall(r"^FROM .* AS (\S+)$", (ROOT / "Dockerfile").read_text(), flags=re.M)
    known = {f"EARTHSYNTH_{name.upper()}" for name in Settings.model_fields}
    assert set(services) == {*OURS, "valkey", "s3"}
    for name in OURS:
        service = services[name]
        assert service["build"]["target"] in stages
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert {key for key in service["environment"] if key.startswith("EARTHSYNTH_")} <= known
    for name, service in services.items():
        assert re.search(r":v?\d", service["image"]), f"{name} has no pinned version"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert services["training-worker"]["command"] == ["earthsynth", "work", "--queue", "training"]
    assert services["webhook-worker"]["command"] == ["earthsynth", "work", "--queue", "webhook"]
    assert services["webhook-worker"]["build"]["target"] == "api", "delivering needs no torch"
    cache = services["training-worker"]["environment"]["TMPDIR"]
    assert f"models:{cache}" in services["training-worker"]["volumes"], "checkpoints do not fit into memory"


class Containers:
    """Starts services of the compose file as local processes: names become loopback ports, volumes folders."""

    def __init__(self, services: dict[str, dict[str, Any]], folder: Path) -> None:
        self.services = services
        self.folder = folder
        self.redis_port, self.s3_port, self.api_port, *more = ports.choose(3 + len(seaweedfs.PORT_FLAGS) - 1)
        self.s3_more = [f"-{flag}={port}" for flag, port in zip(seaweedfs.PORT_FLAGS[1:], more, strict=True)]
        self.bin = folder / "bin"
        self.bin.mkdir()
        for program in (valkey.binary(), seaweedfs.binary(), Path(sys.executable).with_name("earthsynth")):
            assert program.exists(), f"{program} is not installed"
            (self.bin / program.name).symlink_to(program)
        self.children: list[Child] = []

    def localise(self, text: str, volume: Path) -> str:
        for theirs, here in (
            ("valkey:6379", f"127.0.0.1:{self.redis_port}"),
            ("s3:8333", f"127.0.0.1:{self.s3_port}"),
            ("127.0.0.1:8333", f"127.0.0.1:{self.s3_port}"),
            ("--port 6379", f"--port {self.redis_port}"),
            ("-s3.port=8333", f"-s3.port={self.s3_port}"),
            ("0.0.0.0", "127.0.0.1"),  # noqa: S104  (the other way round)
            ("/data", str(volume)),
            ("/tmp/auth.conf", str(volume / "auth.conf")),  # noqa: S108  (a path of the container)
        ):
            text = re.sub(
                rf"(?<![\w.-]){re.escape(theirs)}\b" if theirs != "/data" else r"/data\b", here, text
            )
        return text

    def start(self, name: str) -> None:
        service = self.services[name]
        volume = self.folder / name
        volume.mkdir()
        env = {key: self.localise(str(value), volume) for key, value in service["environment"].items()}
        if "EARTHSYNTH_PORT" in env:
            env["EARTHSYNTH_PORT"] = str(self.api_port)
        command = [self.localise(word, volume) for word in service["command"]]
        program = {"mini": "weed"}.get(command[0])  # SeaweedFS's image puts its program before the command
        command = [program, *command, *self.s3_more] if program else command
        path = f"{self.bin}:{os.defpath}"
        found = shutil.which(command[0], path=path)
        assert found, f"{command[0]} of service {name} does not exist"
        child = Child(
            name, [found, *command[1:]], {"PATH": path, "HOME": str(volume)} | env, volume / "log", 10
        )
        child.start()
        self.children.append(child)

    def wait(self, what: str, healthy: Any, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not healthy():
            logs = "\n".join(f"--- {child.name}\n{child.last_lines()}" for child in self.children)
            assert all(child.alive for child in self.children), logs
            assert time.monotonic() < deadline, f"{what} did not become healthy\n{logs}"
            time.sleep(0.1)

    def stop(self) -> None:
        for group in (self.children[2:], self.children[:2]):  # ours, then the stores
            for child in group:
                child.terminate()
            for child in group:
                child.wait_stopped(lambda: False)
        seaweedfs.remove_sockets([self.s3_port])


@pytest.fixture
def containers(env: dict[str, str], tmp_path: Path):
    started = Containers(load_services(env), tmp_path)
    yield started
    started.stop()


@pytest.mark.timeout(400)
def test_every_service_starts_and_becomes_healthy(containers: Containers) -> None:
    containers.start("valkey")
    containers.start("s3")
    url = f"redis://:{SECRETS['VALKEY_PASSWORD']}@127.0.0.1:{containers.redis_port}/0"
    containers.wait("valkey", lambda: valkey.answers(url))
    with redis.Redis.from_url(url) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    endpoint = f"http://127.0.0.1:{containers.s3_port}"
    keys = {"access_key": SECRETS["S3_ACCESS_KEY"], "secret_key": SECRETS["S3_SECRET_KEY"]}
    containers.wait("s3", lambda: seaweedfs.answers(endpoint, **keys))
    assert not seaweedfs.answers(endpoint, access_key="ACCESS", secret_key="wrong")
    probe = re.search(r"http://127\.0\.0\.1:8333/\w+", containers.services["s3"]["healthcheck"]["test"][1])
    assert probe
    assert httpx.get(probe[0].replace("8333", str(containers.s3_port)), trust_env=False).status_code == 200

    for name in OURS:
        containers.start(name)
    containers.wait("api", lambda: _image_healthcheck(containers.api_port))
    with httpx.Client(base_url=f"http://127.0.0.1:{containers.api_port}", trust_env=False) as client:
        containers.wait("api", lambda: client.get("/readyz").status_code == 200)

        def ready_workers() -> list[dict[str, Any]]:
            return [
                worker for worker in client.get("/v1/workers").json()["items"] if worker["status"] == "ready"
            ]

        containers.wait("the three workers", lambda: len(ready_workers()) == 3, seconds=120)
        models = {worker["queue"]: worker["model"] for worker in ready_workers()}
        assert models["generation"]["name"] == "nano"
        assert models["training"] is None, "torch and models come with the first training"


def _image_healthcheck(port: int) -> bool:
    """The HEALTHCHECK of the api image, run here."""
    found = re.search(r"HEALTHCHECK .*?CMD (\[.*?\])$", (ROOT / "Dockerfile").read_text(), flags=re.M | re.S)
    assert found
    command = json.loads(found[1])
    assert command[0] == "python"
    done = subprocess.run(
        [sys.executable, *command[1:]], env={"EARTHSYNTH_PORT": str(port)}, capture_output=True, check=False
    )
    return done.returncode == 0
