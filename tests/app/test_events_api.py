"""GET /v1/jobs/{id}/events: a job followed live, again from any point, and through what breaks on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from redis import Redis
from redis.exceptions import RedisError

from deploy import ports, readiness
from deploy.localstack import LocalStack
from tests.app.sse import Follower, Received, all_events, received
from tests.conftest import QUICK, settings_of
from tests.pictures import OFF, png, road_and_buildings
from tests.worker.records import make_job
from worker.events import BELL, Event, log_key, publish
from worker.jobs import Job, JobStatus, Phase, new_job_id
from worker.layout import result_key
from worker.redis_client import connect
from worker.results import Result, end, store_request
from worker.storage import Storage
from worker.store import Store

MASK = {"mask": ("mask.png", png(road_and_buildings(256)))}


@dataclass
class Api:
    """One API process, and what a worker would have: the same Redis and bucket."""

    url: str
    environment: Mapping[str, str]
    log: Path
    redis: Redis
    store: Store
    storage: Storage

    def follower(self, job: Job, **options: Any) -> Follower:
        return Follower(f"{self.url}/v1/jobs/{job.id}/events", **options)

    def events(self, job: Job, **options: Any) -> list[Received]:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as client:
            return all_events(client, f"/v1/jobs/{job.id}/events", **options)

    def job(self, **changes: Any) -> Job:
        job = make_job(**changes)
        store_request(self.storage, job)
        self.store.create(job)
        return job

    def start(self, job: Job) -> None:
        self.store.update(job.id, lambda j: j.advance(JobStatus.RUNNING, phase=Phase.SYNTHESIS))

    def say(self, job: Job, number: int) -> None:
        publish(self.redis, job.id, Event.LOG, {"message": number})

    def finish(self, job: Job) -> None:
        current = self.store.load(job.id)
        assert current is not None
        if current.status is JobStatus.QUEUED:
            self.start(job)
            current = self.store.load(job.id)
            assert current is not None
        end(self.store, self.storage, current, JobStatus.SUCCEEDED)

    def ended_job(self, logs: int = 5) -> Job:
        """A job with this log: queued, running, so many numbers, succeeded."""
        job = self.job()
        self.start(job)
        for number in range(logs):
            self.say(job, number)
        self.finish(job)
        return job


def stack_of(servers: LocalStack, data: Path) -> LocalStack:
    return LocalStack(
        data, parts={"api"}, env=QUICK | servers.environment | {"EARTHSYNTH_S3_BUCKET": "events"}
    )


def api_of(stack: LocalStack) -> Api:
    settings = settings_of(stack)
    redis = connect(settings)
    log = stack.data.path / "logs" / "api.log"
    return Api(stack.api_url, stack.environment, log, redis, Store(redis), Storage(settings))


@pytest.fixture(scope="module")
def api(servers: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with stack_of(servers, tmp_path_factory.mktemp("api")) as stack:
        found = api_of(stack)
        yield found
        found.redis.close()


def numbers(events: list[Received]) -> list[int]:
    return [event.data["message"] for event in events if event.event == "log"]


def statuses(events: list[Received]) -> list[str]:
    return [event.data["status"] for event in events if event.event == "status"]


def test_a_generation_from_before_its_start_to_its_end(client: httpx.Client, service: LocalStack) -> None:
    form = {"num_images": "2", "num_inference_steps": "12", "filter": OFF}
    job = client.post("/v1/generations", files=MASK, data=form).json()
    with client.stream("GET", job["links"]["events"]) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        snapshot, *events = received(answer.iter_lines())
    assert (snapshot.event, snapshot.id) == ("status", None)
    assert snapshot.data["job"]["id"] == job["id"]
    assert snapshot.data["status"] == snapshot.data["job"]["status"]
    assert [event.place for event in events] == sorted({event.place for event in events})
    assert statuses(events) == ["queued", "running", "succeeded"]
    assert [events[0].event, events[1].event, events[-1].event] == ["status", "status", "status"]
    assert events[-1].data["counts"]["accepted"] == 2
    progress = [event.data for event in events if event.event == "progress"]
    assert {"conditions", "synthesis"} <= {data["phase"] for data in progress}
    steps = [data["progress"]["step"] for data in progress if data["phase"] == "synthesis"]
    assert steps == sorted(steps)
    assert steps[-1] == 12
    results = client.get(job["links"]["results"]).json()["items"]
    samples = [event.data for event in events if event.event == "sample"]
    assert sorted((data["index"], data["seed"]) for data in samples) == [
        (s["index"], s["seed"]) for s in results
    ]
    again = all_events(client, job["links"]["events"])
    assert again[0].data["status"] == "succeeded"
    assert again[1:] == events


def test_a_reconnection_gets_exactly_the_rest(api: Api) -> None:
    job = api.ended_job(logs=5)
    _, *events = api.events(job)
    assert len(events) == 8
    for known in range(1, 8):
        last = str(events[known - 1].id)
        assert api.events(job, headers={"Last-Event-ID": last}) == events[known:]
    last = str(events[2].id)
    assert api.events(job, params={"last_event_id": last}) == events[3:]
    with httpx.Client(base_url=api.url, trust_env=False) as client:
        over = client.get(f"/v1/jobs/{job.id}/events", headers={"Last-Event-ID": str(events[-1].id)})
    assert (over.status_code, over.content) == (204, b""), "a browser would ask again for ever"
    header, query = {"Last-Event-ID": last}, {"last_event_id": str(events[0].id)}
    assert api.events(job, headers=header, params=query) == events[3:], "a browser keeps its URL"


def test_what_is_not_in_the_window_any_more_is_a_resync(api: Api) -> None:
    job = api.ended_job(logs=20)
    _, *events = api.events(job)
    api.redis.xtrim(log_key(job.id), maxlen=4, approximate=False)
    resync, *rest = api.events(job, headers={"Last-Event-ID": str(events[3].id)})
    assert (resync.event, resync.id, resync.data["job"]["status"]) == ("resync", None, "succeeded")
    assert rest == events[-4:]
    assert api.events(job, headers={"Last-Event-ID": str(events[-4].id)}) == events[-3:]
    never, *rest = api.events(job, headers={"Last-Event-ID": "9999999999999-0"})
    assert (never.event, rest) == ("resync", events[-4:])


def test_a_job_that_ended_long_ago(api: Api) -> None:
    job = api.ended_job()
    _, *events = api.events(job)
    api.redis.delete(log_key(job.id))
    (snapshot,) = api.events(job)
    assert (snapshot.event, snapshot.data["status"]) == ("status", "succeeded")
    (resync,) = api.events(job, headers={"Last-Event-ID": str(events[0].id)})
    assert (resync.event, resync.data["status"]) == ("resync", "succeeded")


def test_a_redis_that_forgets_everything_is_a_resync_and_no_hang(api: Api) -> None:
    job = api.job()
    with api.follower(job) as follower:
        api.start(job)
        follower.wait_for(lambda: statuses(follower.events) == ["queued", "queued", "running"])
        api.redis.flushall()
        follower.wait_for(lambda: any(event.event == "resync" for event in follower.events))
        api.finish(job)  # the job came back from storage, as queued
        events = follower.ended()
    resync = next(event for event in events if event.event == "resync")
    assert resync.data["job"]["status"] == "queued"
    assert statuses(events)[-3:] == ["queued", "running", "succeeded"]


def test_an_end_that_only_storage_knows_is_found(api: Api) -> None:
    """Without a log there is nothing to miss, and nobody rings: the stream looks for itself."""
    job = api.job()
    api.redis.delete(log_key(job.id))
    with api.follower(job) as follower:
        follower.wait_for(lambda: statuses(follower.events) == ["queued"])
        ended = Result(job=job.advance(JobStatus.FAILED))
        key = result_key(job.tenant, job.id)
        api.storage.create(key, ended.model_dump_json().encode(), "application/json")
        api.redis.flushall()
        assert statuses(follower.ended(15)) == ["queued", "failed"]


def test_refusals(api: Api) -> None:
    job = api.ended_job()
    foreign = make_job(tenant="other")
    api.store.create(foreign)
    with httpx.Client(base_url=api.url, trust_env=False) as client:
        for job_id in (new_job_id(), "job_x", foreign.id):
            answer = client.get(f"/v1/jobs/{job_id}/events")
            assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
            assert answer.headers["content-type"] == "application/problem+json"
        for bad in ("", "x", "1", "1-", "1-2-3", "-1-0", "1" * 20 + "-0", "1-" + "9" * 20, "1-0\u0660"):
            for asked in ({"headers": {"Last-Event-ID": bad.encode()}}, {"params": {"last_event_id": bad}}):
                answer = client.get(f"/v1/jobs/{job.id}/events", **asked)  # type: ignore[arg-type]
                assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), asked
        operation = client.get("/openapi.json").json()["paths"]["/v1/jobs/{job_id}/events"]["get"]
        assert operation["responses"]["200"]["content"].keys() == {"text/event-stream"}
        assert operation["responses"].keys() >= {"200", "204", "404", "422", "429", "503"}
        assert client.get(f"/v1/jobs/{job.id}").json()["links"]["events"] == f"/v1/jobs/{job.id}/events"


def test_a_hundred_clients_receive_everything_over_few_connections(api: Api) -> None:
    clients, logs = 100, 40
    job = api.job()
    api.start(job)
    opened, before = 0, len(api.redis.client_list())

    async def read(client: httpx.AsyncClient) -> list[Received]:
        nonlocal opened
        lines = []
        async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
            opened += 1
            async for line in answer.aiter_lines():
                lines.append(line)
        return list(received(lines))

    def speak() -> int:
        for number in range(logs):
            api.say(job, number)
        used = len(api.redis.client_list())
        api.finish(job)
        return used

    async def everyone() -> tuple[list[list[Received]], int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=api.url, trust_env=False, timeout=30, limits=limits) as client:
            reading = [asyncio.create_task(read(client)) for _ in range(clients)]
            while opened < clients:
                await asyncio.sleep(0.01)
            used = await asyncio.to_thread(speak)
            return await asyncio.gather(*reading), used

    found, used = asyncio.run(everyone())
    assert [numbers(events) for events in found] == [list(range(logs))] * clients
    assert {events[-1].data["status"] for events in found} == {"succeeded"}
    # 20 for the streams, and one for each thread (40 at most) that has looked up the job.
    assert used - before < 80, "a connection for each client would be more than a hundred"


def test_clients_that_leave_in_the_middle_are_no_errors(api: Api) -> None:
    job = api.job()
    for number in range(1000):
        api.say(job, number)
    for lines in range(0, 3000, 100):
        with httpx.stream("GET", f"{api.url}/v1/jobs/{job.id}/events", trust_env=False) as answer:
            assert len(list(islice(answer.iter_lines(), lines))) == lines
    api.finish(job)
    assert numbers(api.events(job)) == list(range(1000))
    assert "Traceback" not in api.log.read_text()


def test_two_api_processes_deliver_at_once(api: Api, servers: LocalStack, tmp_path: Path) -> None:
    with stack_of(servers, tmp_path) as stack:
        other = api_of(stack)
        job = api.job()
        with api.follower(job) as one, other.follower(job) as two:
            for follower in (one, two):
                follower.wait_for(lambda follower=follower: len(follower.events) == 2)
            began = time.monotonic()
            for number in range(3):
                api.say(job, number)
                for follower in (one, two):
                    follower.wait_for(lambda f=follower, n=number: n in numbers(f.events))
            assert time.monotonic() - began < 3, "the bell wakes them, not the look every five seconds"
            api.finish(job)
            assert one.ended()[1:] == two.ended()[1:]
        other.redis.close()


def test_a_redis_that_starts_again_goes_on_ringing(tmp_path: Path) -> None:
    with LocalStack(tmp_path, parts={"redis", "s3", "api"}, env=QUICK) as stack:
        api = api_of(stack)
        job = api.job()
        with api.follower(job) as follower:
            api.say(job, 0)
            follower.wait_for(lambda: numbers(follower.events) == [0])
            os.kill(stack.pids["redis"], signal.SIGKILL)
            follower.wait_for(lambda: _listeners(api.redis) == 0)
            follower.wait_for(lambda: _listeners(api.redis) == 1)
            began = time.monotonic()
            for number in range(1, 4):
                api.say(job, number)
                follower.wait_for(lambda n=number: n in numbers(follower.events))
            assert time.monotonic() - began < 3
            api.finish(job)
            assert numbers(follower.ended()) == list(range(4))
        api.redis.close()


def _listeners(redis: Redis) -> int:
    """How many processes hear the bell; none while Redis is away."""
    try:
        found: Any = redis.pubsub_numsub(BELL)
    except RedisError:
        return 0
    return int(found[0][1])


def test_the_process_stops_at_once_and_its_streams_end(servers: LocalStack, tmp_path: Path) -> None:
    with stack_of(servers, tmp_path) as stack:
        api = api_of(stack)
        with api.follower(api.job()) as one, api.follower(api.job()) as two:
            for follower in (one, two):
                follower.wait_for(lambda follower=follower: len(follower.events) == 2)
            process = psutil.Process(stack.pids["api"])
            began = time.monotonic()
            process.terminate()
            psutil.wait_procs([process], timeout=5)
            assert time.monotonic() - began < 2, "streams must not use up the time of requests in hand"
            for follower in (one, two):
                assert statuses(follower.ended(1)) == ["queued", "queued"]
        api.redis.close()


def test_a_comment_keeps_an_idle_stream_open(api: Api, tmp_path: Path) -> None:
    """Every 15 s; the test's own process does not wait so long."""
    (port,) = ports.choose(1)
    program = (
        "from app import following as f; f.IDLE_SECONDS /= 100; from deploy.cli import app; app(['serve'])"
    )
    env = os.environ | dict(api.environment) | {"EARTHSYNTH_PORT": str(port)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", program], env=env, stderr=log)
    try:
        patient = replace(api, url=f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 20
        while not readiness.api_is_ready(patient.url):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        job = api.job()
        with patient.follower(job) as follower:
            follower.wait_for(lambda: len(follower.comments) >= 3)
            assert statuses(follower.events) == ["queued", "queued"]
            api.finish(job)
            assert statuses(follower.ended())[-1] == "succeeded"
    finally:
        process.terminate()
        process.wait(10)
