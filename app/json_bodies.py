"""A JSON body into the model that it must be; what is no JSON is said with the place where it ends to be."""

from __future__ import annotations

import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from models.errors import EarthSynthError, FieldError, InvalidInput, Malformed
from worker.json_text import RepeatedName, check_names

_Model = TypeVar("_Model", bound=BaseModel)
_PLACE = re.compile(
    r"(?:Invalid JSON: )?(?P<what>.*) at line (?P<line>\d+) column (?P<column>\d+)", re.DOTALL
)


def from_json(model: type[_Model], raw: bytes) -> _Model:
    """The validated body. Numbers must be numbers, not text.

    Raises Malformed (malformed_json, with the byte's offset), InvalidInput, and pydantic's ValidationError.
    """
    if not raw:
        raise InvalidInput("Send a JSON object as the body.", code="missing_body")
    try:
        found = model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        (fault, *_) = error.errors(include_url=False, include_context=False, include_input=False)
        if fault["type"] == "json_invalid":
            raise _unreadable(fault["msg"], raw) from None
        raise
    try:
        check_names(raw)
    except RepeatedName as error:
        raise Malformed(f"The body is not valid JSON: {error}.", code="malformed_json") from None
    return found


def _unreadable(message: str, raw: bytes) -> EarthSynthError:
    """The error that the parser's message stands for: it stops at the first thing that it cannot take."""
    place = _PLACE.fullmatch(message)
    what, offset = message, len(raw)
    if place is not None:
        lines = raw.split(b"\n", int(place["line"]) - 1)
        offset = len(raw) - len(lines[-1]) + max(int(place["column"]) - 1, 0)
        what = place["what"]
        if what.startswith("EOF"):
            offset = len(raw)
    if "hex escape" in what:  # it says so of lone surrogates only
        message = f"half of a surrogate pair ends at byte {offset}; send whole characters"
        return InvalidInput(
            f"The body's text is not valid: {message}.", code="invalid_text", errors=[FieldError("", message)]
        )
    if what == "number out of range":
        message = f"the number that ends at byte {offset} has more digits than any field takes"
        return InvalidInput(
            f"Out of range: {message}.", code="out_of_range", errors=[FieldError("", message)]
        )
    return Malformed(f"The body is not valid JSON: {what} at byte {offset}.", code="malformed_json")
