"""The README's table of settings, made from `worker.settings`: python -m deploy.settings_table README.md"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from worker.settings import Settings

BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def settings_table() -> str:
    """Every setting as a row of a Markdown table: variable, default, what it means."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        shown = "" if default is None or default is PydanticUndefined else f"`{default}`"
        rows.append(f"| `EARTHSYNTH_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def with_table(text: str) -> str:
    """`text` with the table of now between its two marks. Raises: ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no {BEGIN} … {END} in the text")
    return f"{before}{BEGIN}\n{settings_table()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text()))
