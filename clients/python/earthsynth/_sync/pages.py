"""Lists, page after page, as they are read."""

# Made by make_sync.py from _async/pages.py; change it there.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from earthsynth._answers import json_of
from earthsynth._requests import get

if TYPE_CHECKING:
    from earthsynth._sync.transport import Transport

T = TypeVar("T")


class Pager(Generic[T]):
    """The items of a list: `for item in pager`; each page is asked for when it is needed."""

    def __init__(self, transport: Transport, path: str, item: Callable[[Any], T], **query: object) -> None:
        self._transport, self._path, self._item, self._query = transport, path, item, query

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            for item in page:
                yield item

    def pages(self) -> Iterator[list[T]]:
        """Whole pages."""
        query = dict(self._query)
        while True:
            answer = json_of(self._transport.send(get(self._path, **query)))
            yield [self._item(item) for item in answer.get("items", [])]
            query["cursor"] = answer.get("next_cursor")
            if query["cursor"] is None:
                return

    def to_list(self, most: int | None = None) -> list[T]:
        """The first `most` items, or all."""
        found: list[T] = []
        if most is not None and most <= 0:
            return found
        for item in self:
            found.append(item)
            if len(found) == most:
                break
        return found
