"""What OGC 18-062r2 asks of its documents, written down as JSON schemas from the text of the standard."""

from __future__ import annotations

from typing import Any

import jsonschema_rs

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_TIME = {"type": "string", "format": "date-time"}
_STATUSES = ["accepted", "running", "successful", "failed", "dismissed"]
_TRANSMISSIONS = {"type": "array", "items": {"enum": ["value", "reference"]}}
_CONTROLS = {"type": "array", "items": {"enum": ["sync-execute", "async-execute", "dismiss"]}}

# 7.2: a link has a target and a relation
LINK: dict[str, Any] = {
    "type": "object",
    "required": ["href", "rel"],
    "properties": {"href": {"type": "string", "format": "uri"}, "rel": _TEXT, "type": _TEXT, "title": _TEXT},
}
_LINKS = {"type": "array", "items": LINK}
LANDING_PAGE = {
    "type": "object",
    "required": ["links"],
    "properties": {"title": _TEXT, "description": _TEXT, "links": _LINKS | {"minItems": 1}},
}
CONFORMANCE = {
    "type": "object",
    "required": ["conformsTo"],
    "properties": {"conformsTo": {"type": "array", "items": {"type": "string", "format": "uri"}}},
}
# 7.9: a summary has an id and a version
_SUMMARY: dict[str, Any] = {
    "type": "object",
    "required": ["id", "version"],
    "properties": {
        "id": _TEXT,
        "version": _TEXT,
        "title": _TEXT,
        "description": _TEXT,
        "keywords": _TEXTS,
        "jobControlOptions": _CONTROLS,
        "outputTransmission": _TRANSMISSIONS,
        "links": _LINKS,
    },
}
PROCESS_LIST = {
    "type": "object",
    "required": ["processes", "links"],
    "properties": {"processes": {"type": "array", "items": _SUMMARY}, "links": _LINKS},
}
# 9: inputs and outputs are described by OpenAPI 3.0 schemas, which know neither null, const nor references of ours
_OAS30: dict[str, Any] = {
    "$defs": {
        "schema": {
            "type": "object",
            "properties": {
                "type": {"enum": ["string", "number", "integer", "boolean", "array", "object"]},
                "items": {"$ref": "#/$defs/schema"},
                "properties": {"additionalProperties": {"$ref": "#/$defs/schema"}},
                "additionalProperties": {"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/schema"}]},
                "oneOf": {"items": {"$ref": "#/$defs/schema"}},
                "anyOf": {"items": {"$ref": "#/$defs/schema"}},
            },
            "not": {"anyOf": [{"required": [word]} for word in ("const", "$ref", "$defs", "propertyNames")]},
        }
    }
}
_DATA: dict[str, Any] = {
    "type": "object",
    "required": ["schema"],
    "properties": {"title": _TEXT, "description": _TEXT, "schema": {"$ref": "#/$defs/schema"}},
}
_OCCURS = {"minOccurs": {"type": "integer", "minimum": 0}, "maxOccurs": {"type": ["integer", "string"]}}
PROCESS = _OAS30 | {
    "allOf": [_SUMMARY],
    "required": ["inputs", "outputs"],
    "properties": {
        "inputs": {"type": "object", "additionalProperties": {"allOf": [_DATA, {"properties": _OCCURS}]}},
        "outputs": {"type": "object", "minProperties": 1, "additionalProperties": _DATA},
    },
}
# 7.12: a job has an id, a status and a type
STATUS_INFO = {
    "type": "object",
    "required": ["jobID", "status", "type"],
    "properties": {
        "processID": _TEXT,
        "type": {"enum": ["process"]},
        "jobID": _TEXT,
        "status": {"enum": _STATUSES},
        "message": _TEXT,
        "created": _TIME,
        "started": _TIME,
        "finished": _TIME,
        "updated": _TIME,
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "links": _LINKS,
    },
}
JOB_LIST = {
    "type": "object",
    "required": ["jobs", "links"],
    "properties": {"jobs": {"type": "array", "items": STATUS_INFO}, "links": _LINKS},
}
# 7.13: a result is a value, qualified where it is binary or an object, or a link; or several of them
_VALUE = {
    "oneOf": [
        {"type": ["string", "number", "boolean"]},
        {
            "type": "object",
            "required": ["value"],
            "properties": {"mediaType": _TEXT, "encoding": _TEXT, "schema": {"type": ["string", "object"]}},
        },
        {"type": "object", "required": ["href"], "properties": {"href": {"format": "uri"}, "type": _TEXT}},
    ]
}
RESULTS = {
    "type": "object",
    "additionalProperties": {"oneOf": [_VALUE, {"type": "array", "items": _VALUE}]},
}
# 7.14: RFC 7807, of which `type` must be there
EXCEPTION = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "instance": _TEXT,
    },
}


def checked(schema: dict[str, Any], value: Any) -> Any:
    """The JSON, which must be as the standard says."""
    found = jsonschema_rs.validator_for(schema, validate_formats=True)
    assert [error.message for error in found.iter_errors(value)] == []
    return value
