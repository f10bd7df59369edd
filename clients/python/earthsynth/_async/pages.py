"""Lists, page after page, as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from earthsynth._answers import json_of
from earthsynth._requests import get

if TYPE_CHECKING:
    from earthsynth._async.transport import AsyncTransport

T = TypeVar("T")


class AsyncPager(Generic[T]):
    """The items of a list: `async for item in pager`; each page is asked for when it is needed."""

    def __init__(
        self, transport: AsyncTransport, path: str, item: Callable[[Any], T], **query: object
    ) -> None:
        self._transport, self._path, self._item, self._query = transport, path, item, query

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page:
                yield item

    async def pages(self) -> AsyncIterator[list[T]]:
        """Whole pages."""
        query = dict(self._query)
        while True:
            answer = json_of(await self._transport.send(get(self._path, **query)))
            yield [self._item(item) for item in answer.get("items", [])]
            query["cursor"] = answer.get("next_cursor")
            if query["cursor"] is None:
                return

    async def to_list(self, most: int | None = None) -> list[T]:
        """The first `most` items, or all."""
        found: list[T] = []
        if most is not None and most <= 0:
            return found
        async for item in self:
            found.append(item)
            if len(found) == most:
                break
        return found
