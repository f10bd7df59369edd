"""The whole system on one machine: Redis, S3, the API and its workers as child processes on 127.0.0.1."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy import ports, readiness, seaweedfs, valkey
from deploy.child import Child
from deploy.stack_data import StackData
from deploy.stack_error import StackError, StackStopped

ALL_PARTS = frozenset({"redis", "s3", "api", "workers"})
_WORKING = ("worker-", "trainer-", "sender-")
_SERVER_SECONDS = 30.0
_API_SECONDS = 60.0
_DRAIN_SECONDS = 4.0  # at a stop a job in hand is cut off soon: it is there again after the next start
_NEWS_SECONDS = 15.0  # after so long a wait people are told where to look
_HEALTHY_SECONDS = 30.0
_LONGEST_BACKOFF_SECONDS = 10.0


class LocalStack:
    """A context manager: inside it the asked parts run, answer, and are started again when they die.

    `parts`: any of "redis", "s3", "api", "workers". `port` 0 chooses a free one for the API. `env` is laid
    over the children's environment; a part that is left out must be named there (EARTHSYNTH_REDIS_URL, …) if
    another one needs it. `stop_requested` may be set from a signal handler at any time: starting then ends
    with StackStopped; `hurry` makes stopping kill instead of wait.

    Raises on entry: StackError, with the part's last log lines, when a part does not come up.
    """

    def __init__(
        self,
        data: Path | str,
        *,
        port: int = 0,
        workers: int = 1,
        trainers: int = 0,
        senders: int = 0,
        parts: Iterable[str] = ALL_PARTS,
        env: Mapping[str, str] | None = None,
        worker_seconds: float = 1800.0,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._parts = frozenset(parts)
        if unknown := self._parts - ALL_PARTS:
            raise ValueError(f"unknown parts {sorted(unknown)}; there are {sorted(ALL_PARTS)}")
        self.path = Path(data)
        self.stop_requested = threading.Event()
        self.hurry = threading.Event()
        self.api_port = port
        self._workers = workers if "workers" in self._parts else 0
        self._trainers = trainers if "workers" in self._parts else 0
        self._senders = senders if "workers" in self._parts else 0
        self._extra_env = dict(env or {})
        self._worker_seconds = worker_seconds
        self._report = report
        self._data: StackData | None = None
        self._api_socket: socket.socket | None = None
        self._children: dict[str, Child] = {}
        self._closing = threading.Event()
        self._monitor = threading.Thread(target=self._restart_the_dead, name="stack-monitor", daemon=True)
        # Children die with the thread that started them, so one thread, which outlives them, starts them all.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stack-starter")

    @property
    def data(self) -> StackData:
        if self._data is None:
            raise RuntimeError("the stack is not running")
        return self._data

    @property
    def redis_url(self) -> str:
        keys = self.data.keys
        return f"redis://:{keys.redis_password}@{ports.LOOPBACK}:{keys.redis_port}/0"

    @property
    def s3_endpoint(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.data.keys.s3_ports[0]}"

    @property
    def s3_access_key(self) -> str:
        return self.data.keys.s3_access_key

    @property
    def s3_secret_key(self) -> str:
        return self.data.keys.s3_secret_key

    @property
    def api_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.api_port}"

    @property
    def pids(self) -> dict[str, int]:
        """The running children's process ids by name: redis, s3, api, worker-1, …"""
        return {name: child.pid for name, child in self._children.items() if child.alive and child.pid}

    @property
    def environment(self) -> dict[str, str]:
        """The EARTHSYNTH_* variables with which the API and the workers find each other."""
        found: dict[str, str] = {}
        if "redis" in self._parts:
            found["EARTHSYNTH_REDIS_URL"] = self.redis_url
        if "s3" in self._parts:
            found["EARTHSYNTH_S3_ENDPOINT"] = self.s3_endpoint
            found["EARTHSYNTH_S3_ACCESS_KEY"] = self.s3_access_key
            found["EARTHSYNTH_S3_SECRET_KEY"] = self.s3_secret_key
        if "api" in self._parts:
            found["EARTHSYNTH_HOST"] = ports.LOOPBACK
            found["EARTHSYNTH_PORT"] = str(self.api_port)
        return found | self._extra_env

    def __enter__(self) -> Self:
        try:
            self._data = StackData(self.path)
            self._listen_for_the_api()
            self._start_servers()
            self._start_api_and_workers()
        except BaseException:
            self.close()
            raise
        self._monitor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop all: workers first, so that they can finish and record, then the API, then S3 and Redis."""
        self._closing.set()
        if self._monitor.is_alive():
            self._monitor.join()
        has_s3 = "s3" in self._children
        self._stop_group([name for name in self._children if name.startswith(_WORKING)])
        self._stop_group(["api"])
        if self._api_socket is not None:
            self._api_socket.close()
        self._stop_group(["s3", "redis"])
        if has_s3:
            seaweedfs.remove_sockets(self.data.keys.s3_ports)
        self._starter.shutdown()
        if self._data is not None:
            self._data.close()

    def _listen_for_the_api(self) -> None:
        """The API's socket stays this process's: nobody takes its port, and who calls while it restarts waits."""
        if "api" in self._parts:
            self._api_socket = ports.listen(self.api_port)
            self.api_port = self._api_socket.getsockname()[1]

    def _start_servers(self) -> None:
        """Start Redis and S3; if another process takes a chosen port before its server does, try others."""
        self.data.refresh_ports()
        while True:
            if "redis" in self._parts:
                self._start(self._redis())
            if "s3" in self._parts:
                self._start(self._s3())
            try:
                if "redis" in self._parts:
                    self._wait("redis", lambda: valkey.answers(self.redis_url), _SERVER_SECONDS)
                if "s3" in self._parts:
                    self._wait("s3", self._s3_answers, _SERVER_SECONDS)
            except StackError:
                self._stop_group(["s3", "redis"])
                if not self.data.refresh_ports():
                    raise
            else:
                return

    def _redis(self) -> Child:
        config = self.data.path / "keys" / "valkey.conf"
        keys = self.data.keys
        valkey.write_config(
            config, data=self.data.path / "redis", port=keys.redis_port, password=keys.redis_password
        )
        return self._child("redis", [str(valkey.binary()), str(config)], {}, stop_seconds=3)

    def _s3(self) -> Child:
        identities = self.data.path / "keys" / "s3.json"
        seaweedfs.write_identities(identities, access_key=self.s3_access_key, secret_key=self.s3_secret_key)
        argv = seaweedfs.command(
            data=self.data.path / "s3", identities=identities, ports=self.data.keys.s3_ports
        )
        return self._child("s3", argv, seaweedfs.environment(self.data.path / "s3"), stop_seconds=4)

    def _s3_answers(self) -> bool:
        ours = {"access_key": self.s3_access_key, "secret_key": self.s3_secret_key}
        return seaweedfs.answers(self.s3_endpoint, **ours) and seaweedfs.has_room(self.data.keys.s3_ports)

    def _start_api_and_workers(self) -> None:
        """Start the API and the workers side by side, since both spend their first seconds importing."""
        began = datetime.now(UTC)
        ours = {
            "EARTHSYNTH_DRAIN_SECONDS": str(_DRAIN_SECONDS),
            "EARTHSYNTH_MODEL_CACHE": str(self.data.path / "models"),
        }
        env = ours | self._inherited() | self.environment
        command = [sys.executable, "-m", "deploy.cli"]
        if self._api_socket is not None:
            descriptor = self._api_socket.fileno()
            serve = [*command, "serve", "--socket", str(descriptor)]
            self._start(self._child("api", serve, env, stop_seconds=4, descriptors=[descriptor]))
        work = [*command, "work"]
        for kind, count, argv in (
            ("worker", self._workers, work),
            ("trainer", self._trainers, [*work, "--queue", "training"]),
            ("sender", self._senders, [*work, "--queue", "webhook"]),
        ):
            for number in range(1, count + 1):
                self._start(self._child(f"{kind}-{number}", argv, env, stop_seconds=_DRAIN_SECONDS + 3))
        if "api" not in self._parts:
            return
        self._wait("api", lambda: readiness.api_is_ready(self.api_url), _API_SECONDS)
        if self._workers:
            self._wait(
                "worker-1", lambda: readiness.a_worker_is_settled(self.api_url, began), self._worker_seconds
            )

    def _child(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        stop_seconds: float,
        descriptors: Sequence[int] = (),
    ) -> Child:
        return Child(name, argv, env, self.data.path / "logs" / f"{name}.log", stop_seconds, descriptors)

    def _start(self, child: Child) -> None:
        self._children[child.name] = child
        self._starter.submit(child.start).result()

    def _wait(self, name: str, answers: Callable[[], bool], seconds: float) -> None:
        """Wait until `answers()`. Raises: StackError when the child ends or time is over; StackStopped."""
        child = self._children[name]
        deadline = time.monotonic() + seconds
        news_at = time.monotonic() + _NEWS_SECONDS
        while not (child.alive and answers()):
            if not child.alive:
                raise StackError(
                    f"{name} ended with exit code {child.exit_code}; see {child.log}\n{child.last_lines()}"
                )
            if time.monotonic() > deadline:
                raise StackError(
                    f"{name} did not answer within {seconds:.0f} s; see {child.log}\n{child.last_lines()}"
                )
            if self._report and time.monotonic() > news_at:
                self._report(f"still waiting for {name}; see {child.log}")
                news_at = deadline
            if self.stop_requested.wait(0.1):
                raise StackStopped

    def _restart_the_dead(self) -> None:
        """Start again what has died, later each time while it keeps dying soon after its start."""
        while not self._closing.wait(0.2):
            for child in self._children.values():
                now = time.monotonic()
                if child.alive:
                    continue
                if child.died_at is None:
                    child.died_at = now
                    ran = now - child.started_at
                    child.failures = 1 if ran > _HEALTHY_SECONDS else child.failures + 1
                    if self._report:
                        self._report(
                            f"{child.name} ended with exit code {child.exit_code}; starting it again"
                        )
                backoff = min(0.25 * 2 ** (child.failures - 1), _LONGEST_BACKOFF_SECONDS)
                if now - child.died_at >= backoff:
                    self._starter.submit(child.start).result()

    def _stop_group(self, names: Iterable[str]) -> None:
        children = [self._children.pop(name) for name in names if name in self._children]
        for child in children:
            child.terminate()
        for child in children:
            child.wait_stopped(self.hurry.is_set)

    def _inherited(self) -> dict[str, str]:
        """This process's environment, without another store's settings or a proxy between the parts."""
        ours = "EARTHSYNTH_S3_" if "s3" in self._parts else "-"
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        for name in ("no_proxy", "NO_PROXY"):
            env[name] = ",".join(filter(None, [env.get(name), ports.LOOPBACK, "localhost"]))
        return env
