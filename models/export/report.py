"""report.html: one file without scripts or outside sources, for a person to judge the data set by."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from models.categories import CATEGORIES
from models.export.check import ReaderFound
from models.export.notice import NOTICE
from models.export.plots import acceptance_svg, class_balance_svg
from models.export.sheet import Sheet
from models.export.summary import FEW_ACCEPTED, Summary

_COLORS = {c.name: "#{:02x}{:02x}{:02x}".format(*c.color) for c in CATEGORIES} | {"ignore": "#ffffff"}


def write_report(
    folder: Path,
    summary: Summary,
    fidelity: Mapping[str, float],
    readers: Sequence[ReaderFound],
    sheet: Sheet,
    unfiltered: Sheet,
) -> None:
    """Write report.html; a user's text is escaped, and the page forbids itself everything but its own pictures."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    survey, info = summary.survey, summary.info
    text = environment.get_template("report.html.jinja").render(
        info=info,
        summary=summary,
        survey=survey,
        format=summary.format,
        warnings=summary.warnings(),
        fidelity=fidelity,
        readers=readers,
        colors=_COLORS,
        few=FEW_ACCEPTED,
        notice=NOTICE,
        shown=len(sheet),
        balance=_data_uri(class_balance_svg(survey.histogram(), summary.instances), "image/svg+xml"),
        acceptance=_data_uri(acceptance_svg(info.acceptance, few=FEW_ACCEPTED), "image/svg+xml"),
        sheet=_data_uri(sheet.jpeg(), "image/jpeg"),
        unfiltered=_data_uri(unfiltered.jpeg(), "image/jpeg") if len(unfiltered) else "",
    )
    (folder / "report.html").write_text(text, encoding="utf-8", newline="\n")


def _data_uri(content: bytes, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"
