"""JSON as RFC 8259 and RFC 7493 have it: every name once in an object, numbers that are numbers."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json


class RepeatedName(ValueError):
    """An object holds a name twice, of which readers take one or the other."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the name {json.dumps(name[:60])} is there twice in one object")


def read_json(text: str) -> Any:
    """The value; raises ValueError for what is no JSON, is nested more than 200 deep, or repeats a name."""
    value = from_json(text, allow_inf_nan=False)
    check_names(text)
    return value


def check_names(text: str | bytes) -> None:
    """Raises RepeatedName. The text must be valid JSON."""
    json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str)


def _once(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise RepeatedName(name)
        names.add(name)
