"""Text that may go to a tokenizer, a log or a store."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

_NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f]*$"  # published; the function above says why in words


def plain_text(text: str) -> str:
    """Text without control characters and lone surrogates, which no tokenizer, log or store should meet."""
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs"}:
            raise PydanticCustomError(
                "invalid_text", "must not contain control characters or lone surrogates"
            )
    return text


Text = Annotated[str, AfterValidator(plain_text), Field(json_schema_extra={"pattern": _NO_CONTROLS})]
