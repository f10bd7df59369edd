"""Card, Croissant and report: valid, complete, and inert whatever a user calls a data set."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import mlcroissant as mlc
import numpy as np
import pytest
import yaml
from PIL import Image

from models.export.export import ExportReport, export_dataset
from models.export.options import ExportFormat, ExportOptions
from models.export.sheet import Sheet
from tests.models.export.dataset import INFO, label, picture, samples

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
]

HOSTILE = '<script>alert(1)</script> "x" {{ 7*7 }} | [a](javascript:b) \n---\nlicense: mit\n# $\\alpha$ é'
FILES = ["README.md", "report.html", "croissant.json"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    folder = tmp_path_factory.mktemp("documents") / "export"
    info = dataclasses.replace(
        INFO,
        name=HOSTILE,
        description=HOSTILE,
        filter_policy=HOSTILE,
        parameters={HOSTILE: {HOSTILE: 1}},
    )
    options = ExportOptions(format=ExportFormat.HF, include_stuff=True)
    return folder, export_dataset(samples, folder, options, info, unfiltered=samples)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_one_file_without_scripts(made: tuple[Path, ExportReport]) -> None:
    text = (made[0] / "report.html").read_text()
    page = Page()
    page.feed(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "form", "a"}
    sources = [attrs["src"] or "" for _, attrs in page.tags if "src" in attrs]
    assert len(sources) == 4  # balance, acceptance, samples, unfiltered
    assert all(source.startswith("data:image/") for source in sources)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    outside = re.sub(r"data:image/[^\"]*", "", text)
    assert "http" not in outside.replace("http-equiv", "")
    assert page.text.count("<script>alert(1)</script>") >= 3
    assert "{{ 7*7 }}" in page.text
    for shown in (
        "storage tank",
        "1.0000",
        "mlcroissant",
        "only 10% were accepted",
        "6 accepted of 10 requested",
    ):
        assert shown in page.text, shown


def test_the_card_is_one_header_and_inert_text(made: tuple[Path, ExportReport]) -> None:
    _, header, body = (made[0] / "README.md").read_text().split("---\n", 2)
    content = yaml.safe_load(header)
    assert content["pretty_name"] == HOSTILE
    assert content["license"] == "cc-by-4.0"
    assert content["configs"][0]["data_files"][1] == {"split": "val", "path": "val/**"}
    assert "<script" not in body
    assert "[a](" not in body
    assert "trainedAlgorithmicMedia" in body
    assert "| storage tank | 504 | 6 |" in body
    assert "trainedAlgorithmicMedia" in (made[0] / "NOTICE.txt").read_text()


def test_croissant_is_valid_and_its_records_are_the_samples(made: tuple[Path, ExportReport]) -> None:
    opened = mlc.Dataset(jsonld=str(made[0] / "croissant.json"))
    assert opened.metadata.ctx.issues.errors == set()
    assert opened.metadata.ctx.issues.warnings == set()
    assert opened.metadata.name == HOSTILE
    lines = [json.loads(line) for line in (made[0] / "manifest.jsonl").read_text().splitlines()]
    records = list(opened.records("samples"))
    assert [record["samples/sha256"].decode() for record in records] == [line["sha256"] for line in lines]


def test_contact_sheets_are_a_grid_of_picture_and_overlay(made: tuple[Path, ExportReport]) -> None:
    with Image.open(made[0] / "contact_sheet.png") as sheet:
        assert "trainedAlgorithmicMedia" in sheet.info["xmp"].decode()
        pixels = np.asarray(sheet)
    sheet_of_one = Sheet()
    sheet_of_one.add(picture(0), label(0))
    one = sheet_of_one.draw()
    assert one.shape == (140, 270, 3)
    assert pixels.shape == (3 * 140, 2 * 270, 3)
    assert np.array_equal(pixels[:140, :270], one)
    # 48 pixels in the middle of 128: the road, rows 20 to 23, is tinted on the right and not on the left
    left, right = one[6:134, 6:134].astype(int), one[6:134, 136:264].astype(int)
    assert np.array_equal(left[:40], np.full((40, 128, 3), 255))
    difference = np.abs(left - right)[:, 40:88].mean(axis=(1, 2))
    assert difference[60:64].min() > 10
    assert difference[64:70].max() == 0
