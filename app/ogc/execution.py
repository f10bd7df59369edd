"""What a client of the standard asks: inputs, which become a generation request, and how it wants the results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from app.ogc.process import HIDDEN, Output, Transmission, inputs
from models.errors import FieldError, InvalidInput
from worker.specs import GenerationRequest

_STORED_MASK = re.compile(r"(?:/v1/masks/)?(msk_[0-9a-f]{64})(?:/preview)?")


class ResponseForm(StrEnum):
    RAW = "raw"  # the outputs themselves
    DOCUMENT = "document"  # one JSON document of all


class OutputFormat(BaseModel):
    """Each output has one format; to ask for it is to say what is so anyway."""

    mediaType: str | None = Field(None, max_length=100)  # noqa: N815  (the standard's spelling)


class OutputAsked(BaseModel):
    transmissionMode: Transmission = Transmission.VALUE  # noqa: N815
    format: OutputFormat | None = None


class WantedResults(BaseModel):
    """How the results are to be answered. `outputs` left out, or empty: all of them, as values."""

    outputs: dict[Output, OutputAsked] | None = Field(None, max_length=len(Output))
    response: ResponseForm = ResponseForm.RAW

    @property
    def transmissions(self) -> dict[Output, Transmission]:
        asked = self.outputs or {output: OutputAsked() for output in Output}
        return {output: one.transmissionMode for output, one in asked.items()}


class ExecuteRequest(WantedResults):
    """`inputs`: by the names of the process description; a value is literal, {"value": …} or, of a mask, {"href": …}.

    Other members are refused, `subscriber` too: this service has no callbacks of the standard.
    """

    model_config = ConfigDict(extra="forbid")

    inputs: dict[str, Any] = Field(default_factory=dict, max_length=100)


class _Asked(BaseModel):
    inputs: GenerationRequest


def generation_request(asked: ExecuteRequest, host: str) -> GenerationRequest:
    """The same request as POST /v1/generations has it.

    `host` is this service's name and port as the client knows them: a link to a mask must lead there, and is never
    followed. Raises InvalidInput; ValidationError, with pointers into the body.
    """
    values: dict[str, Any] = {}
    for name, value in asked.inputs.items():
        if name in HIDDEN or name not in inputs():
            message = f"is no input of the process; there are {', '.join(inputs())}"
            raise InvalidInput(
                f"{name[:100]} {message}.",
                code="unknown_field",
                errors=[FieldError(f"/inputs/{name[:100]}", message)],
            )
        if name == "mask":
            values |= _mask(value, host)
        else:
            values[name] = _literal(value, many=inputs()[name].max_occurs > 1)
    if "mask" in asked.inputs and "mask_id" in asked.inputs:
        message = "Send exactly one of mask and mask_id, not both."
        raise InvalidInput(message, code="mask_and_mask_id", errors=[FieldError("/inputs/mask", message)])
    return _Asked.model_validate_json(json.dumps({"inputs": values}), strict=True).inputs


@contextmanager
def pointing_into_inputs() -> Iterator[None]:
    """Errors of what is asked name the places of the inputs."""
    try:
        yield
    except InvalidInput as error:
        error.errors = tuple(
            fault
            if fault.pointer.startswith("/inputs")
            else FieldError(f"/inputs{fault.pointer}", fault.message)
            for fault in error.errors
        )
        raise


def check_formats(wanted: WantedResults, kinds: dict[Output, str]) -> None:
    """Raises InvalidInput for an output in another format than its own."""
    for output, asked in (wanted.outputs or {}).items():
        kind = asked.format and asked.format.mediaType
        if kind and kind.partition(";")[0].strip().lower() != kinds[output]:
            message = f"is {kinds[output]} here"
            raise InvalidInput(
                f"The output {output} {message}.",
                errors=[FieldError(f"/outputs/{output}/format/mediaType", message)],
            )


def _literal(value: Any, *, many: bool) -> Any:
    """The value without the standard's wrapping; one that may occur often as a list."""
    if isinstance(value, list):
        plain = [_unwrapped(one) for one in value]
        return plain[0] if not many and len(plain) == 1 else plain
    plain = _unwrapped(value)
    return [plain] if many and not isinstance(plain, list) else plain


def _unwrapped(value: Any) -> Any:
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _mask(value: Any, host: str) -> dict[str, Any]:
    """The mask's base64 text under `mask`, or a stored mask's id under `mask_id`."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and isinstance(value.get("href"), str):
        return {"mask_id": _stored_mask(value["href"], host)}
    if isinstance(value, dict) and value.get("encoding", "base64") != "base64":
        message = "must be in base64"
        raise InvalidInput(f"/inputs/mask: {message}.", errors=[FieldError("/inputs/mask", message)])
    return {"mask": _unwrapped(value)}


def _stored_mask(href: str, host: str) -> str:
    """The id in the link, which must lead to a mask of this service."""
    try:
        parts = urlsplit(href)
    except ValueError:
        raise _not_ours() from None
    here = not parts.scheme and not parts.netloc
    ours = here or (parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower())
    found = _STORED_MASK.fullmatch(parts.path)
    if not ours or not found:
        raise _not_ours()
    return found[1]


def _not_ours() -> InvalidInput:
    message = (
        "must link to a mask of this service, /v1/masks/msk_…: no other address is read; or be in base64"
    )
    return InvalidInput(
        f"/inputs/mask: {message}.", code="mask_not_ours", errors=[FieldError("/inputs/mask", message)]
    )
