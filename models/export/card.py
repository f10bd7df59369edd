"""The data-set card (README.md, as the Hugging Face Hub reads it) and NOTICE.txt."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import jinja2
import yaml

from models.export.notice import NOTICE, SOURCE_TYPE
from models.export.options import ExportFormat
from models.export.sheet import MOST
from models.export.summary import Summary

_MARKS = re.compile(r"([\\`*_{}\[\]#|~]|^[-+=])")
_TASKS = {
    ExportFormat.SEMANTIC: "image-segmentation",
    ExportFormat.WEBDATASET: "image-segmentation",
    ExportFormat.HF: "image-segmentation",
    ExportFormat.IMAGEFOLDER: "image-classification",
}
_FILES = {  # formats that `datasets.load_dataset` opens by itself
    ExportFormat.WEBDATASET: "{}-*.tar",
    ExportFormat.HF: "{}/**",
    ExportFormat.IMAGEFOLDER: "{}/**",
}


def write_card(folder: Path, summary: Summary) -> None:
    """Write README.md and NOTICE.txt; a user's text is shown as text, whatever Markdown or HTML is in it."""
    environment = jinja2.Environment(  # noqa: S701, Markdown: the filter `md` escapes, HTML included
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = _as_text
    text = environment.get_template("card.md.jinja").render(
        header=yaml.safe_dump(_header(summary), sort_keys=False, allow_unicode=True),
        info=summary.info,
        options=summary.options,
        survey=summary.survey,
        summary=summary,
        format=summary.format,
        notice=NOTICE,
        shown=min(MOST, summary.survey.pictures),
        warnings=summary.warnings(),
    )
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")
    notice = f"{NOTICE}\n\nIPTC digital source type of every picture: {SOURCE_TYPE}\n"
    (folder / "NOTICE.txt").write_text(notice, encoding="utf-8", newline="\n")


def _as_text(value: object) -> str:
    """Return Markdown that shows `value` on one line as it is."""
    return _MARKS.sub(r"\\\1", html.escape(" ".join(str(value).split())))


def _header(summary: Summary) -> dict[str, Any]:
    options = summary.options
    pictures = summary.survey.pictures
    header: dict[str, Any] = {
        "pretty_name": summary.info.name,
        "license": _hub_licence(summary.info.licence),
        "task_categories": [_TASKS.get(options.format, "object-detection")],
        "tags": ["synthetic", "remote-sensing", "earth-observation", "earthsynth"],
        "size_categories": [_size(pictures)],
    }
    if pattern := _FILES.get(options.format):
        files = [{"split": split, "path": pattern.format(split)} for split in summary.survey.splits]
        config: dict[str, Any] = {"config_name": "default", "data_files": files}
        if options.format is ExportFormat.IMAGEFOLDER:
            config["drop_labels"] = False
        header["configs"] = [config]
    return header


def _hub_licence(licence: str) -> str:
    """Return the Hub's spelling of an SPDX identifier; "other" for an address."""
    return licence.lower() if re.fullmatch(r"[A-Za-z0-9.+-]{1,40}", licence) else "other"


def _size(pictures: int) -> str:
    """Return the Hub's class of that many pictures."""
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next((name for bound, name in bounds if pictures < bound), "n>1M")
