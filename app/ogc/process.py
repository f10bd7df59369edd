"""The one process: its summary, and its description, whose inputs are the fields of a generation request."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.document_text import VERSION
from app.ogc.links import EXECUTE_REL, PROCESS_ID, Link, link
from models.errors import NotFound
from worker.specs import GenerationRequest


class Camel(BaseModel):
    """Fields are spelt as the standard spells them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class JobControl(StrEnum):
    SYNC = "sync-execute"
    ASYNC = "async-execute"
    DISMISS = "dismiss"


class Transmission(StrEnum):
    VALUE = "value"  # in the answer itself
    REFERENCE = "reference"  # as a presigned URL


class ProcessSummary(Camel):
    id: str
    version: str
    title: str
    description: str
    keywords: list[str]
    job_control_options: list[JobControl]
    output_transmission: list[Transmission]
    links: list[Link]


class ProcessList(BaseModel):
    processes: list[ProcessSummary]
    links: list[Link]


class InputDescription(Camel):
    """`schema`: an OpenAPI 3.0 schema. `minOccurs` 0: what is left out is chosen."""

    title: str
    description: str
    schema_: dict[str, Any] = Field(alias="schema")
    min_occurs: int
    max_occurs: int


class OutputDescription(Camel):
    title: str
    description: str
    schema_: dict[str, Any] = Field(alias="schema")


class Process(ProcessSummary):
    inputs: dict[str, InputDescription]
    outputs: dict[str, OutputDescription]


class Output(StrEnum):
    IMAGES = "images"  # the pictures
    LABELS = "labels"  # their label masks
    SAMPLES = "samples"  # what is known of them


HIDDEN = frozenset({"validate_only"})
"""Fields of a request that have no place in a process: nothing would be executed."""

_BASE64_PNG = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
_MASK = {"oneOf": [_BASE64_PNG, _BASE64_PNG | {"contentMediaType": "image/tiff"}]}
_PNG = {"type": "string", "contentEncoding": "binary", "contentMediaType": "image/png"}
_PICTURES = {"type": "array", "items": _PNG}
OUTPUTS = {
    Output.IMAGES: OutputDescription(
        title="Pictures", description="A PNG for each accepted sample, by index.", schema=_PICTURES
    ),
    Output.LABELS: OutputDescription(
        title="Labels",
        description="A PNG of category ids for each picture: its mask, with 255 where the filter says ignore.",
        schema=_PICTURES,
    ),
    Output.SAMPLES: OutputDescription(
        title="Samples",
        description="Seeds, prompts, labels and what the filter found, as GET /v1/jobs/{id}/results answers it.",
        schema={"type": "object", "properties": {"items": {"type": "array", "items": {"type": "object"}}}},
    ),
}


def check_process(process_id: str) -> None:
    """Raises NotFound for every id but that of the one process."""
    if process_id != PROCESS_ID:
        raise NotFound(f"There is no such process; there is {PROCESS_ID}.", code="no_such_process")


def summary(request: Request) -> ProcessSummary:
    path = f"/processes/{PROCESS_ID}"
    return ProcessSummary(
        id=PROCESS_ID,
        version=VERSION,
        title="Pictures from a mask",
        description="Synthetic satellite pictures that follow a semantic mask, filtered, with exact labels.",
        keywords=["remote sensing", "synthetic data", "semantic segmentation"],
        job_control_options=list(JobControl),
        output_transmission=list(Transmission),
        links=[
            link(request, path, "self", "the process"),
            link(request, f"{path}/execution", EXECUTE_REL, "execute it"),
        ],
    )


def process_list(request: Request) -> ProcessList:
    return ProcessList(
        processes=[summary(request)], links=[link(request, "/processes", "self", "this document")]
    )


def description(request: Request) -> Process:
    """The process with its inputs, by the names and bounds of POST /v1/generations, and its outputs."""
    return Process(
        **dict(summary(request)), inputs=inputs(), outputs={key.value: OUTPUTS[key] for key in Output}
    )


@cache
def inputs() -> dict[str, InputDescription]:
    """The process's inputs by name."""
    whole = GenerationRequest.model_json_schema()
    definitions = whole.get("$defs", {})
    return {
        name: _input(name, _plain(field, definitions))
        for name, field in whole["properties"].items()
        if name not in HIDDEN
    }


def _input(name: str, schema: dict[str, Any]) -> InputDescription:
    schema.pop("title", None)
    title = name.replace("_", " ").capitalize()
    text = str(schema.pop("description", f"As {name} of POST /v1/generations."))
    most = 1
    if name == "mask":
        schema = _MASK
        text = "A mask file in base64, or a link to a stored one: /v1/masks/msk_…. One of mask and mask_id."
    elif name == "init_image":
        schema = _BASE64_PNG
        text = "A picture of the mask's size in base64; it stays where the mask has no category that is asked for."
    elif schema.get("type") == "array":
        most = int(schema.get("maxItems", 1000))
        schema = schema["items"]
    return InputDescription(title=title, description=text, schema=schema, min_occurs=0, max_occurs=most)


def _plain(node: Any, definitions: dict[str, Any]) -> Any:
    """The schema as OpenAPI 3.0 has it: it stands alone, and knows no null."""
    if isinstance(node, list):
        return [_plain(value, definitions) for value in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        found = definitions[str(node["$ref"]).rpartition("/")[2]]
        return _plain(found | {key: value for key, value in node.items() if key != "$ref"}, definitions)
    kept = {
        key: _plain(value, definitions)
        for key, value in node.items()
        if key not in {"anyOf", "const", "propertyNames"} and (key, value) != ("default", None)
    }
    if "const" in node:
        kept["enum"] = [node["const"]]
    kinds = [_plain(kind, definitions) for kind in node.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return kinds[0] | kept
    return kept | {"anyOf": kinds} if kinds else kept
