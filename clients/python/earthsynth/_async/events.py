"""Following a job by Server-Sent Events, across broken connections."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from earthsynth._requests import get
from earthsynth._sse import Comment, Message, SseDecoder
from earthsynth.errors import APIConnectionError, EarthSynthError, UnexpectedAnswer
from earthsynth.types.events import Event, event_of

if TYPE_CHECKING:
    from earthsynth._async.transport import AsyncTransport


class _NothingFollowsError(Exception):
    """The service says so."""


async def follow(
    transport: AsyncTransport, job_id: str, last_event_id: str | None = None
) -> AsyncGenerator[Event | None, None]:
    """The job's events after that one until it has ended; None is a sign of life.

    A broken connection is opened again, after the last event that came. Raises as `send`, when the retries are used
    up without anything new.
    """
    retries, attempt, last, over = transport.retries.patient(), 0, last_event_id, False
    while True:
        failure: EarthSynthError
        decoder = SseDecoder()
        try:
            async with aclosing(_connection(transport, job_id, last, decoder)) as events:
                async for event in events:
                    if event is None or event.id is not None:
                        attempt = 0
                    if event is not None:
                        last = event.id or last
                        over = over or event.ends
                    yield event
                    if event is not None and event.ends and event.id is not None:
                        return
            failure = APIConnectionError(f"the events of {job_id} broke off before its end")
        except _NothingFollowsError:
            return
        except EarthSynthError as error:
            failure = error
        if over:  # what the stream said when it began, and nothing of the log was left to tell
            return
        pause = retries.pause(failure, attempt)
        if pause is None:
            raise failure
        await transport.rest(failure, max(pause, decoder.retry_seconds or 0.0))
        attempt += 1


async def _connection(
    transport: AsyncTransport, job_id: str, last: str | None, decoder: SseDecoder
) -> AsyncGenerator[Event | None, None]:
    """The events of one connection, until the service closes it."""
    request = get(f"/v1/jobs/{job_id}/events").with_headers(Accept="text/event-stream")
    if last is not None:
        request = request.with_headers(**{"Last-Event-ID": last})
    async with transport.stream(request) as response:
        if response.status_code == 204:  # the last event that came was the job's last one
            raise _NothingFollowsError
        if "text/event-stream" not in response.headers.get("content-type", ""):
            raise UnexpectedAnswer(f"{response.request.url} answered without events; is it EarthSynth?")
        async for chunk in response.aiter_bytes():
            for found in decoder.feed(chunk):
                yield None if isinstance(found, Comment) else _event(found)


def _event(message: Message) -> Event:
    try:
        data = json.loads(message.data)
    except ValueError as error:
        raise UnexpectedAnswer(f"an event {message.event} is no JSON") from error
    return event_of(message.event, message.id, data if isinstance(data, dict) else {"data": data})
