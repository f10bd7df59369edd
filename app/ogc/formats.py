"""What documents come as: JSON, for which many clients ask by `?f=json` although the standard has no such word."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query


async def only_json(
    f: Annotated[Literal["json"] | None, Query(description="the format of documents; there is one")] = None,
) -> None:
    """Lets `f=json` through, which every document is; anything else is refused."""
