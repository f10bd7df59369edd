"""The door: so many inside, so many in line, the others refused at once; who only waits takes no place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.problems import problem_of
from app.shedding import Door, only_waiting
from models.errors import Overloaded


def scope(path: str = "/v1/jobs", method: str = "POST", **headers: str) -> Scope:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "path": path, "method": method, "headers": raw}


class Visit:
    """One request to the door, and what it was answered."""

    def __init__(self, door: Door, found: Scope, receive: Receive | None = None) -> None:
        self.sent: list[Message] = []

        async def send(message: Message) -> None:
            self.sent.append(message)

        async def nothing() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        self.task = asyncio.create_task(door(found, receive or nothing, send))  # type: ignore[arg-type]

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def house(
    work: Callable[[Receive, Send], Awaitable[Any]],
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await work(receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def test_those_inside_and_in_line_are_served_in_order_and_the_rest_refused() -> None:
    async def run() -> None:
        gate, served = asyncio.Semaphore(0), 0

        async def work(_: Receive, __: Send) -> None:
            nonlocal served
            await gate.acquire()
            served += 1

        door = Door(house(work), limit=2, waiting=3)
        visits = [Visit(door, scope()) for _ in range(7)]
        await settle()
        assert [visit.status for visit in visits] == [None] * 5 + [429] * 2
        health = Visit(door, scope("/readyz"))
        await settle()
        assert (health.status, door.inside) == (None, 2), "it is inside, and takes nobody's place"
        refused = visits[-1]
        assert refused.headers[b"retry-after"] == b"1"
        assert refused.headers[b"content-type"] == b"application/problem+json"
        problem = json.loads(refused.sent[1]["body"])
        assert (problem["code"], problem["status"], problem["retryable"]) == ("overloaded", 429, True)
        assert refused.headers[b"x-request-id"].decode() == problem["request_id"]
        assert problem == problem_of(
            Overloaded(problem["detail"], code="overloaded"), "/v1/jobs"
        ).model_dump() | {"request_id": problem["request_id"]}
        named = Visit(door, scope('/v1/"ü', x_request_id="mine-1"))
        await settle()
        problem = json.loads(named.sent[1]["body"])
        assert (problem["instance"], problem["request_id"]) == ('/v1/"ü', "mine-1")
        gate.release()
        await settle()
        assert [visit.status for visit in visits[:5]] == [200] + [None] * 4
        for _ in range(5):
            gate.release()
        await settle()
        assert [visit.status for visit in (*visits[:5], health)] == [200] * 6
        assert door.inside == 0
        late = Visit(door, scope())
        gate.release()
        await settle()
        assert late.status == 200

    asyncio.run(run())


def test_many_more_that_only_read_may_wait_and_take_no_room_from_the_others() -> None:
    async def run() -> None:
        gate = asyncio.Event()
        door = Door(house(lambda *_: gate.wait()), limit=1, waiting=2)
        inside = Visit(door, scope())
        await settle()
        reads = [Visit(door, scope(method=("GET", "HEAD")[number % 2])) for number in range(33)]
        await settle()
        writes = [Visit(door, scope(method=method)) for method in ("POST", "DELETE", "PATCH")]
        await settle()
        assert [visit.status for visit in reads] == [None] * 32 + [429]
        assert [visit.status for visit in writes] == [None, None, 429]
        for visit in (reads[0], writes[0]):  # whoever leaves makes room
            visit.task.cancel()
        await settle()
        later = [Visit(door, scope(method=method)) for method in ("GET", "GET", "POST", "POST")]
        await settle()
        assert [visit.status for visit in later] == [None, 429, None, 429]
        gate.set()
        admitted = [inside, *reads[1:32], writes[1], later[0], later[2]]
        await asyncio.gather(*(visit.task for visit in admitted))
        assert {visit.status for visit in admitted} == {200}
        assert door.inside == 0

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["bytes", "end", "events"])
def test_who_only_waits_takes_no_place(kind: str) -> None:
    async def run() -> None:
        news, working = asyncio.Event(), asyncio.Event()

        async def receive() -> Message:
            await news.wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        async def work(receive: Receive, send: Send) -> None:
            if kind == "bytes":
                await receive()
            elif kind == "end":
                with only_waiting():
                    await news.wait()
            else:
                stream = [(b"content-type", b"text/event-stream; charset=utf-8")]
                await send({"type": "http.response.start", "status": 200, "headers": stream})
                await news.wait()
                return
            await working.wait()

        door = Door(house(work), limit=1, waiting=0)
        waiting = Visit(door, scope(), receive)
        await settle()
        assert door.inside == 0
        others = [Visit(door, scope(), receive) for _ in range(20)]
        await settle()
        assert {visit.status for visit in others} == {200 if kind == "events" else None}
        news.set()
        await settle()
        if kind != "events":
            assert door.inside == 21, "those that were let in are never refused"
            refused = Visit(door, scope(content_length=str(2 << 20)))
            await settle()
            assert (refused.status, refused.headers[b"connection"]) == (429, b"close")
        working.set()
        await settle()
        assert all(visit.task.done() for visit in (waiting, *others))
        assert door.inside == 0

    asyncio.run(run())


def test_whoever_leaves_the_line_gives_its_turn_away() -> None:
    async def run() -> None:
        gate = asyncio.Semaphore(0)
        door = Door(house(lambda *_: gate.acquire()), limit=1, waiting=5)
        first, second, third, fourth = (Visit(door, scope()) for _ in range(4))
        await settle()
        second.task.cancel()
        gate.release()
        third_is_let_in = asyncio.create_task(settle())
        await third_is_let_in
        assert (first.status, second.task.cancelled()) == (200, True)
        third.task.cancel()  # inside by now
        await settle()
        gate.release()
        await settle()
        assert fourth.status == 200
        assert door.inside == 0

    asyncio.run(run())


def test_a_turn_that_comes_with_the_cancellation_is_passed_on() -> None:
    async def run() -> None:
        gate = asyncio.Semaphore(0)
        door = Door(house(lambda *_: gate.acquire()), limit=1, waiting=5)
        await door.admit(reads=False)
        second, third = Visit(door, scope()), Visit(door, scope())
        await settle()
        door.release()
        second.task.cancel()
        gate.release()
        await settle()
        assert second.task.cancelled()
        assert third.status == 200
        assert door.inside == 0

    asyncio.run(run())
