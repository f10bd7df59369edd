"""The data folder of a local stack: its lock, its random keys, its ports.

DATA/redis, DATA/s3   what the two servers keep; it survives a restart
DATA/models           the published models that workers fetched; it may be deleted while nothing runs
DATA/keys             stack.json (passwords, last ports) and the servers' own configuration, owner only
DATA/logs             one log file per child
DATA/lock             held while a stack runs on DATA
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from deploy import ports, seaweedfs
from deploy.stack_error import StackError


@dataclass(slots=True)
class Keys:
    """What must be the same after a restart; the ports where possible, so that presigned URLs stay valid."""

    redis_password: str
    s3_access_key: str
    s3_secret_key: str
    redis_port: int
    s3_ports: list[int]

    @classmethod
    def random(cls) -> Self:
        redis_port, *s3_ports = ports.choose(1 + len(seaweedfs.PORT_FLAGS))
        return cls(
            redis_password=secrets.token_hex(32),
            s3_access_key=secrets.token_hex(10).upper(),
            s3_secret_key=secrets.token_hex(32),
            redis_port=redis_port,
            s3_ports=s3_ports,
        )

    def write(self, path: Path) -> None:
        """Write as JSON, readable by the owner only, whole or not at all."""
        part = path.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file, indent=1)
        part.replace(path)


class StackData:
    """An open data folder; one process at a time has it.

    Raises: StackError when another stack runs on it, or its keys cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        for name in ("redis", "s3", "keys", "logs"):
            (self.path / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(self.path / "lock")
        self._keys_file = self.path / "keys" / "stack.json"
        self.keys = self._read() if self._keys_file.exists() else Keys.random()
        self.keys.write(self._keys_file)

    def _read(self) -> Keys:
        try:
            return Keys(**json.loads(self._keys_file.read_text()))
        except (ValueError, TypeError) as error:
            self.close()
            raise StackError(
                f"{self._keys_file} is damaged; without it the data in {self.path} cannot be read"
            ) from error

    def refresh_ports(self) -> bool:
        """Keep the last run's ports where free, choose others where not; returns whether any changed."""
        fresh, changed = Keys.random(), False
        if not ports.is_free(self.keys.redis_port):
            self.keys.redis_port, changed = fresh.redis_port, True
        if not all(ports.is_free(port) for port in self.keys.s3_ports):
            self.keys.s3_ports, changed = fresh.s3_ports, True
        if changed:
            self.keys.write(self._keys_file)
        return changed

    def close(self) -> None:
        """Give the folder back."""
        self._lock.close()


def _lock(path: Path) -> IO[str]:
    """Take the lock; it goes with the process that holds it, however that ends."""
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StackError(
            f"another stack already runs on {path.parent}; stop it, or choose another data folder"
        ) from error
    return lock
