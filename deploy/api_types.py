"""JSON schemas of the published document in the words and tables of docs/api.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
_PREFIX = "#/components/schemas/"


def name_of(schema: Schema) -> str | None:
    """The component that the schema refers to, if it is nothing but that."""
    reference = str(schema.get("$ref", ""))
    return reference.removeprefix(_PREFIX) or None


def words(schema: Schema, known: Mapping[str, Schema]) -> str:
    """The schema as a table's cell: type, bounds, allowed values; objects as links."""
    name = name_of(schema)
    if name is not None:
        return _values(known[name]) if "enum" in known[name] else f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        kinds = [words(kind, known) for kind in schema["anyOf"] if kind.get("type") != "null"]
        null = ["null"] if any(kind.get("type") == "null" for kind in schema["anyOf"]) else []
        return " or ".join([*kinds, *null])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return _values(schema)
    return _plain(schema, known)


def _plain(schema: Schema, known: Mapping[str, Schema]) -> str:
    kind = schema.get("type", "any")
    if kind == "array":
        items = words(schema["items"], known) if schema.get("items") else "any"
        if "prefixItems" in schema:
            items = words(schema["prefixItems"][0], known)
        return f"array of {items}{_bounds(schema, 'minItems', 'maxItems', ' entries')}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        values = words(schema["additionalProperties"], known)
        return f"object of name → {values}{_bounds(schema, 'minProperties', 'maxProperties', ' entries')}"
    if kind == "string":
        if schema.get("format") == "binary":
            return "file"
        if schema.get("format") == "date-time":
            return "time"
        return f"string{_bounds(schema, 'minLength', 'maxLength', ' characters')}"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    return f"{kind}{_range(low, high, '', 'exclusiveMinimum' in schema)}"


def _bounds(schema: Schema, low: str, high: str, unit: str = "") -> str:
    return _range(schema.get(low), schema.get(high), unit)


def _range(low: Any, high: Any, unit: str, above: bool = False) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f", {'>' if above else '≥'} {low:g}{unit}"
    if low == high:
        return f", {_number(high)}{unit}"
    if low is None:
        return f", ≤ {_number(high)}{unit}"
    return f", {'above ' if above else ''}{_number(low)}–{_number(high)}{unit}"  # noqa: RUF001


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _values(schema: Schema) -> str:
    return " · ".join(f"`{value}`" for value in schema["enum"])


def fields_table(schema: Schema, known: Mapping[str, Schema], *, asked: bool) -> list[str]:
    """A table of an object's fields; of a request also what holds where they are left out."""
    head = ["| field | type | default | meaning |", "|---|---|---|---|"]
    if not asked:
        head = ["| field | type | meaning |", "|---|---|---|"]
    required = set(schema.get("required", ()))
    rows = []
    for name, field in schema.get("properties", {}).items():
        cells = [f"`{name}`", words(field, known)]
        if asked:
            cells[1] = cells[1].removesuffix(" or null") if field.get("default", 0) is None else cells[1]
            cells.append("**required**" if name in required else _default(field))
        rows.append(row([*cells, field.get("description", "")]))
    return [*head, *rows] if rows else []


def _default(field: Schema) -> str:
    if "default" not in field or field["default"] is None:
        return ""
    return f"`{json.dumps(field['default'], ensure_ascii=False)}`"


def row(cells: list[str]) -> str:
    """One row of a Markdown table."""
    plain = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return "| " + " | ".join(" ".join(cell.split()) for cell in plain) + " |"


def names_in(node: Any) -> Iterator[str]:
    """The components that a part of the document refers to."""
    if isinstance(node, list):
        for value in node:
            yield from names_in(value)
    elif isinstance(node, Mapping):
        name = name_of(node)
        if name is not None:
            yield name
        for value in node.values():
            yield from names_in(value)


def lines_of(value: Any, *, indent: int = 0, width: int = 110) -> str:
    """JSON for people: what fits into a line stays in one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= width or not isinstance(value, dict | list) or not value:
        return flat
    space = " " * (indent + 1)
    if isinstance(value, list):
        return "[" + f",\n{space}".join(lines_of(one, indent=indent + 1, width=width) for one in value) + "]"
    entries = []
    for key, one in value.items():
        name = json.dumps(key, ensure_ascii=False) + ": "
        entries.append(name + lines_of(one, indent=indent + 1 + len(name), width=width))
    packed, line = [], ""
    for entry in entries:
        if line and ("\n" in entry or "\n" in line or indent + len(line) + len(entry) + 3 > width):
            packed.append(line)
            line = entry
        else:
            line = f"{line}, {entry}" if line else entry
    return "{" + f",\n{space}".join([*packed, line]) + "}"
