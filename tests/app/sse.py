"""A reader of Server-Sent Events, from the WHATWG's description of the format, and a thread that follows a job."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import httpx


@dataclass(frozen=True)
class Received:
    """`id` is None for an event that carries none."""

    id: str | None
    event: str
    data: dict[str, Any]

    @property
    def place(self) -> tuple[int, int]:
        """The id as it sorts."""
        assert self.id is not None
        milliseconds, _, number = self.id.partition("-")
        return int(milliseconds), int(number)


def received(lines: Iterable[str], comments: list[str] | None = None) -> Iterator[Received]:
    """The events in these lines, without their ends; what stands in comments is added to `comments`."""
    fields: dict[str, str] = {}
    for line in lines:
        if line == "":
            if "data" in fields:
                yield Received(fields.get("id"), fields["event"], json.loads(fields["data"]))
            fields = {}
        elif line.startswith(":"):
            (comments if comments is not None else []).append(line[1:].strip())
        else:
            name, _, value = line.partition(":")
            assert name not in fields, "our data is one line"
            fields[name] = value.removeprefix(" ")
    assert not fields, "the stream was cut off within an event"


def all_events(client: httpx.Client, path: str, **options: Any) -> list[Received]:
    """Everything until the stream ends by itself."""
    with client.stream("GET", path, **options) as answer:
        assert answer.status_code == 200, answer.read()
        return list(received(answer.iter_lines()))


class Follower(threading.Thread):
    """Reads a stream in the background; `opened` is set when the answer has begun, `error` when it broke."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(daemon=True)
        self.url, self.options = url, options
        self.events: list[Received] = []
        self.comments: list[str] = []
        self.opened = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with httpx.stream("GET", self.url, trust_env=False, timeout=60, **self.options) as answer:
                assert answer.status_code == 200, answer.read()
                self.opened.set()
                for event in received(answer.iter_lines(), self.comments):
                    self.events.append(event)
        except Exception as error:
            self.error = error
            self.opened.set()

    def __enter__(self) -> Self:
        self.start()
        assert self.opened.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.join(10)

    def wait_for(self, condition: Callable[[], object], seconds: float = 10) -> None:
        ends = time.monotonic() + seconds
        while not condition():
            assert self.error is None, self.error
            assert time.monotonic() < ends, self.events
            time.sleep(0.01)

    def ended(self, seconds: float = 10) -> list[Received]:
        """Everything, once the stream has ended by itself."""
        self.join(seconds)
        assert not self.is_alive(), "the stream is still open"
        assert self.error is None, self.error
        return self.events
