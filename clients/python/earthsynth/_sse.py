"""Server-Sent Events, as WHATWG describes them: bytes in, messages out, whatever the chunks are."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST_LINE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """`id` is None where the message names none: then the place to go on from stays what it was."""

    id: str | None
    event: str
    data: str


@dataclass(frozen=True, slots=True)
class Comment:
    """A sign of life."""


class SseDecoder:
    """The state of one stream; `retry_seconds` is the pause that the server asks for before a reconnection."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest, self._begun, self._after_cr = "", False, False
        self._event, self._data = "", list[str]()
        self._id: str | None = None
        self.retry_seconds: float | None = None

    def feed(self, chunk: bytes) -> Iterator[Message | Comment]:
        """What this chunk completes. Raises ValueError: a line without end."""
        text = self._rest + self._text.decode(chunk)
        if not self._begun and text:
            text, self._begun = text.removeprefix("\ufeff"), True
        if self._after_cr and text:
            text, self._after_cr = text.removeprefix("\n"), False
        if text.endswith("\r"):
            self._after_cr = True
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop()
        if len(self._rest) > _LONGEST_LINE:
            raise ValueError(f"a line of the stream is longer than {_LONGEST_LINE} characters")
        for line in lines:
            found = self._line(line)
            if found is not None:
                yield found

    def _line(self, line: str) -> Message | Comment | None:
        if not line:
            return self._message()
        if line.startswith(":"):
            return Comment()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_seconds = int(value) / 1000
        return None

    def _message(self) -> Message | None:
        found = Message(self._id or None, self._event or "message", "\n".join(self._data))
        has_data = bool(self._data)
        self._event, self._data, self._id = "", [], None
        return found if has_data else None
