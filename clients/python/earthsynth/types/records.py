"""What every answer is made of. Fields that a newer service adds are kept, as attributes of the same names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Record(BaseModel):
    """One JSON object of the service."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class FileRef(Record):
    """A presigned URL, which runs out at `expires_at`; `sha256` and `bytes` where the service says them.

    `link` stays, and leads whoever has a key to a fresh URL.
    """

    url: str
    expires_at: datetime | None = None
    link: str | None = None
    sha256: str | None = None
    bytes: int | None = None

    def run_out(self, now: datetime | None = None) -> bool:
        """Whether the URL is of no use any more."""
        return self.expires_at is not None and self.expires_at <= (now or datetime.now(UTC))


class Page(Record, Generic[T]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None = None


Json = dict[str, Any]
