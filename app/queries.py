"""Query parameters that nobody reads are refused: a misspelt one would change the answer without a word."""

from __future__ import annotations

from collections import Counter
from typing import get_origin

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from models.errors import FieldError, InvalidInput


def check_parameters(request: Request) -> None:
    """Raises InvalidInput for a parameter that the route does not have, or that is there more than once."""
    if not request.scope["query_string"]:
        return
    given = Counter(name for name, _value in request.query_params.multi_items())
    route: APIRoute = request.scope["route"]
    fields = get_flat_params(route.dependant)
    known = {field.alias: field.field_info for field in fields if isinstance(field.field_info, Query)}
    for name, count in given.items():
        if name not in known:
            takes = ", ".join(sorted(known)) or "none"
            _refuse("unknown_field", name, f"is no parameter of this path, which takes {takes}")
        if count > 1 and get_origin(known[name].annotation) is not list:
            _refuse("repeated_field", name, "is there more than once")


def _refuse(code: str, name: str, message: str) -> None:
    pointer = f"/{name[:100]}"
    raise InvalidInput(f"{pointer}: {message}.", code=code, errors=[FieldError(pointer, message)])
