"""Many followers of jobs: whether each receives every event, and how late.

`python -m tests.benchmarks.event_load --help`. Real Valkey, SeaweedFS and API; the clients are raw sockets in this
process, which publishes too, by the worker's own function. A latency is from before the publication to the arrival.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import psutil
import uvloop
from redis import Redis

from deploy.localstack import LocalStack
from tests.conftest import settings_of
from tests.worker.records import make_job
from worker.events import Event, publish
from worker.jobs import JobStatus
from worker.redis_client import connect
from worker.results import store_request
from worker.storage import Storage
from worker.store import Store

OPENING = 50  # streams that are asked for at a time: more than a process lets wait would be answered 429


@dataclass
class Heard:
    """What the clients received: sequence numbers by client, and seconds from publication to arrival."""

    numbers: list[list[int]]
    seconds: list[float] = field(default_factory=list)
    ended: int = 0
    api_cpu_seconds: float = 0.0

    def latency(self, share: float) -> float:
        """The quantile in milliseconds."""
        found = sorted(self.seconds)
        return 1000 * found[min(len(found) - 1, int(share * len(found)))]


class _Client(asyncio.Protocol):
    def __init__(self, job_id: str, numbers: list[int], heard: Heard, opened: asyncio.Semaphore) -> None:
        self._job_id, self._numbers, self._heard, self._opened = job_id, numbers, heard, opened
        self._buffer, loop = b"", asyncio.get_running_loop()
        self.done, self.gone = loop.create_future(), loop.create_future()  # the stream, the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        request = f"GET /v1/jobs/{self._job_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(request.encode())

    def data_received(self, data: bytes) -> None:
        arrived = time.time()
        if data.startswith(b"HTTP/1.1 "):
            assert data.startswith(b"HTTP/1.1 200 "), data
            self._opened.release()
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            if line.startswith(b'data: {"number":'):
                said = json.loads(line[6:])
                self._numbers.append(said["number"])
                self._heard.seconds.append(arrived - said["at"])
            elif line.startswith(b"data:") and b'"succeeded"' in line:
                self._heard.ended += 1
        if self._buffer.endswith(b"0\r\n\r\n") or (lines and lines[-1] == b"\r" and b"0\r" in lines[-2:]):
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        self._finish()
        self.gone.set_result(None)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def _follow(
    port: int, jobs: list[str], clients: int, heard: Heard, publishing: threading.Thread, patience: float
) -> None:
    loop, opened = asyncio.get_running_loop(), asyncio.Semaphore(OPENING)
    made = []
    for number in range(clients):
        await opened.acquire()
        _, client = await loop.create_connection(
            lambda n=number: _Client(jobs[n % len(jobs)], heard.numbers[n], heard, opened),
            "127.0.0.1",
            port,  # type: ignore[misc]
        )
        made.append(client)
    async with asyncio.timeout(patience):
        for _ in range(OPENING):
            await opened.acquire()
        publishing.start()
        await asyncio.gather(*(client.done for client in made))
        for client in made:
            client.transport.close()
        await asyncio.gather(*(client.gone for client in made))


def _publish(redis: Redis, store: Store, jobs: list[str], rate: float, events: int) -> None:
    """Every job gets an event at each tick, `rate` ticks a second, and then ends."""
    began = time.time()
    for number in range(events):
        time.sleep(max(0.0, began + number / rate - time.time()))
        for job_id in jobs:
            publish(redis, job_id, Event.LOG, {"number": number, "at": time.time()})
    for job_id in jobs:
        store.update(job_id, lambda job: job.advance(JobStatus.RUNNING))
        store.update(job_id, lambda job: job.advance(JobStatus.SUCCEEDED))


def measure(*, clients: int, jobs: int, rate: float, seconds: float) -> Heard:
    """Follows `jobs` jobs by so many clients while each job has `rate` events a second."""
    with (
        tempfile.TemporaryDirectory(prefix="event-load-") as folder,
        LocalStack(
            Path(folder), parts={"redis", "s3", "api"}, env={"EARTHSYNTH_LOG_LEVEL": "WARNING"}
        ) as running,
        connect(settings := settings_of(running)) as redis,
    ):
        store, storage = Store(redis), Storage(settings)
        followed = [make_job() for _ in range(jobs)]
        for job in followed:
            store_request(storage, job)
            store.create(job)
        ids = [job.id for job in followed]
        heard = Heard(numbers=[[] for _ in range(clients)])
        publishing = threading.Thread(target=_publish, args=(redis, store, ids, rate, int(rate * seconds)))
        api = psutil.Process(running.pids["api"])
        before = sum(api.cpu_times()[:2])
        uvloop.run(_follow(running.api_port, ids, clients, heard, publishing, seconds + 60))
        publishing.join()
        heard.api_cpu_seconds = sum(api.cpu_times()[:2]) - before
        return heard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=4, help="events of each job a second")
    parser.add_argument("--seconds", type=float, default=30)
    asked = parser.parse_args()
    heard = measure(clients=asked.clients, jobs=asked.jobs, rate=asked.rate, seconds=asked.seconds)
    expected = list(range(int(asked.rate * asked.seconds)))
    whole = sum(numbers == expected for numbers in heard.numbers)
    print(
        f"{asked.clients} clients of {asked.jobs} jobs, {asked.rate:g} events/s each: {whole} received every event "
        f"in order, {heard.ended} the end; {len(heard.seconds)} of {asked.clients * len(expected)} deliveries, "
        f"p50 {heard.latency(0.5):.0f}, p95 {heard.latency(0.95):.0f}, p99 {heard.latency(0.99):.0f}, "
        f"max {heard.latency(1):.0f} ms; API {1e6 * heard.api_cpu_seconds / len(heard.seconds):.0f} µs a delivery"
    )


if __name__ == "__main__":
    main()
