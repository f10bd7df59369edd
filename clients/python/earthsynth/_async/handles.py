"""A handle: a record that knows its client, and is brought up to date in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import PrivateAttr

from earthsynth._answers import record
from earthsynth.types.records import Record

if TYPE_CHECKING:
    from earthsynth._async.client import AsyncEarthSynth


class AsyncHandle(Record):
    """What `_client` answers with, and can be asked more about."""

    _client: AsyncEarthSynth = PrivateAttr()

    @classmethod
    def of(cls, client: AsyncEarthSynth, data: object) -> Self:
        """The handle of a JSON object. Raises UnexpectedAnswer."""
        found = record(cls, data)
        found._bind(client)
        return found

    def _bind(self, client: AsyncEarthSynth) -> None:
        self._client = client

    def _take(self, newer: Record) -> None:
        """Everything that the newer record of the same thing says."""
        self.__dict__.update(newer.__dict__)
        if self.__pydantic_extra__ is not None:
            self.__pydantic_extra__.update(newer.__pydantic_extra__ or {})
