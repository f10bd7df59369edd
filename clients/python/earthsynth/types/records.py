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


class Georeference(Record):
    """Where pixels lie. `crs`: its EPSG code; None: none, or one that has no code (`has_geokeys`).

    `transform` [a, b, c, d, e, f] takes the corner (column, row) of a pixel to (a·column + b·row + c,
    d·column + e·row + f); `bounds` are left, bottom, right, top. `nodata` is what the file itself calls no data.
    """

    crs: str | None = None
    has_geokeys: bool = False
    transform: tuple[float, float, float, float, float, float]
    bounds: tuple[float, float, float, float]
    nodata: int | None = None


class Page(Record, Generic[T]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None = None


Json = dict[str, Any]
