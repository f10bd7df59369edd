"""Accepting generations under load: rate, latency, CPU by process, and whether any accepted job is lost.

`python -m tests.benchmarks.intake_load --help`. Everything runs on this machine: Valkey, SeaweedFS, the API as
`earthsynth up` starts it, a worker that only ends jobs, and the client. Requests come at a fixed rate whatever the
answers do (tests/benchmarks/load_client.py).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from deploy.localstack import LocalStack
from tests.benchmarks.land_cover import files
from tests.benchmarks.load_client import Load, fire, multipart, with_key
from tests.conftest import settings_of
from worker.layout import LOCAL_TENANT
from worker.redis_client import connect
from worker.results import read_request
from worker.storage import Storage

DEEP = {
    "EARTHSYNTH_MAX_QUEUE_DEPTH": "1000000",
    "EARTHSYNTH_MAX_TENANT_QUEUE_DEPTH": "1000000",
    "EARTHSYNTH_LOG_LEVEL": "WARNING",
}
WARM_ROUNDS = 8  # of all masks before what counts: then each of two processes has read all but one in 128
SHED = (429, 503)


@dataclass(frozen=True, slots=True)
class Run:
    """One load and what it cost: milliseconds of CPU a request, by process; `busy` of all cores, 0 to 1."""

    load: Load
    cpu_ms: dict[str, float]
    busy: float

    @property
    def accepted(self) -> float:
        """Requests answered with 202, a second."""
        return self.load.statuses[202] / self.load.seconds

    def __str__(self) -> str:
        accepted, shed = self.load.statuses[202], sum(self.load.statuses[status] for status in SHED)
        p50, p95, p99 = (self.load.latency(share, 202) for share in (0.5, 0.95, 0.99))
        text = f"{self.accepted:.0f} accepted/s ({accepted}); p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms"
        if shed:
            half, most = (self.load.latency(share, *SHED) for share in (0.5, 0.99))
            text += f"; {shed} shed, p50 {half:.0f}, p99 {most:.0f} ms"
        if other := len(self.load.answers) - accepted - shed:
            text += f"; {other} OTHERS {dict(self.load.statuses)}"
        spent = ", ".join(f"{name} {ms:.2f}" for name, ms in self.cpu_ms.items())
        return f"{text}; CPU ms a request: {spent}, all {sum(self.cpu_ms.values()):.2f}; machine {self.busy:.0%} busy"


@contextmanager
def stack(
    *, processes: int = 2, drain: float = 20, parts_env: dict[str, str] | None = None
) -> Iterator[tuple[LocalStack, list[int]]]:
    """The service with a draining worker; yields it and the worker's process id."""
    env = DEEP | {"EARTHSYNTH_API_PROCESSES": str(processes)} | (parts_env or {})
    with (
        tempfile.TemporaryDirectory(prefix="intake-load-") as folder,
        LocalStack(Path(folder), parts={"redis", "s3", "api"}, env=env) as running,
    ):
        command = [sys.executable, "-m", "tests.benchmarks.draining_worker", str(drain)]
        worker = subprocess.Popen(
            command, env=os.environ | running.environment, cwd=Path(__file__).parents[2]
        )
        try:
            yield running, [worker.pid]
        finally:
            worker.kill()
            worker.wait()


def requests(running: LocalStack, count: int, *, masks: int) -> list[bytes]:
    """`count` requests with `masks` different masks of 512 by 512; as many as requests: every one is new."""
    host = f"127.0.0.1:{running.api_port}"
    built = [multipart("/v1/generations", host, "mask", file) for file in files(min(masks, count))]
    return [built[number % len(built)] for number in range(count)]


def measure(running: LocalStack, workers: Sequence[int], due: Sequence[bytes], rate: float) -> Run:
    """Sends the requests and tells what that cost."""
    watched = {name: _family(pid) for name, pid in running.pids.items()}
    watched["worker"] = [process for pid in workers for process in _family(pid)]
    watched["client"] = [psutil.Process()]
    before = {name: _cpu(processes) for name, processes in watched.items()}
    whole, began = _machine(), time.perf_counter()
    load = uvloop.run(fire("127.0.0.1", running.api_port, due, rate=rate))
    wall = time.perf_counter() - began
    spent = {name: 1000 * (_cpu(found) - before[name]) / len(due) for name, found in watched.items()}
    return Run(load, spent, (_machine() - whole) / wall / (os.cpu_count() or 1))


def lost(running: LocalStack, load: Load) -> list[str]:
    """Accepted jobs that the storage alone, with Redis emptied, does not know."""
    ids = [
        (answer.header(b"location") or b"").decode().rpartition("/")[2]
        for answer in load.answers
        if answer.status == 202
    ]
    assert len(set(ids)) == len(ids), "one id was given twice"
    settings = settings_of(running)
    with connect(settings) as redis:
        redis.flushall()
    storage = Storage(settings)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda job_id: read_request(storage, LOCAL_TENANT, job_id), ids))
    return [job_id for job_id, job in zip(ids, found, strict=True) if job is None]


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _machine() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2, help="API processes")
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--masks", type=int, default=200, help="different masks; 0: every request has a new one"
    )
    parser.add_argument("--drain", type=float, default=20, help="jobs that the worker ends a second")
    parser.add_argument(
        "--peak", type=float, nargs="*", default=[], help="rates tried to find the peak, 15 s each"
    )
    parser.add_argument("--overload", type=float, default=0, help="rate of the overload, half as long")
    parser.add_argument("--keys", action="store_true", help="each request has an Idempotency-Key of its own")
    asked = parser.parse_args()
    with stack(processes=asked.processes, drain=asked.drain) as (running, workers):
        count, first = int(asked.rate * asked.seconds), WARM_ROUNDS * (asked.masks or 25)
        due = requests(running, count + first, masks=asked.masks or count + first)
        if asked.keys:
            due = [with_key(request) for request in due]
        measure(running, workers, due[:first], rate=min(asked.rate, 100))
        base = measure(running, workers, due[first:], asked.rate)
        print(f"{asked.rate:.0f}/s for {asked.seconds:.0f} s: {base}", flush=True)
        peak, runs = base.accepted, [base]
        for rate in asked.peak:
            runs.append(measure(running, workers, requests(running, int(rate * 15), masks=200), rate))
            peak = max(peak, runs[-1].accepted)
            print(f"{rate:.0f}/s for 15 s: {runs[-1]}", flush=True)
        if asked.overload:
            due = requests(running, int(asked.overload * asked.seconds / 2), masks=200)
            runs.append(measure(running, workers, due, asked.overload))
            print(f"{asked.overload:.0f}/s for {asked.seconds / 2:.0f} s: {runs[-1]}")
            print(f"goodput {runs[-1].accepted / peak:.0%} of the peak, {peak:.0f}/s", flush=True)
        everything = Load(0, [answer for run in runs for answer in run.load.answers])
        missing = lost(running, everything)
        print(f"lost: {len(missing)} of {everything.statuses[202]} accepted, with Redis emptied")
        if missing:
            sys.exit(1)


if __name__ == "__main__":
    main()
