"""Data sets: many masks in; filtered, labelled, exported samples out."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from earthsynth.types.jobs import Counts, JobStatus
from earthsynth.types.problems import Problem
from earthsynth.types.records import FileRef, Record

ExportFormat = (
    Literal[
        "coco",
        "yolo-detect",
        "yolo-segment",
        "yolo-obb",
        "voc",
        "semantic",
        "imagefolder",
        "webdataset",
        "hf",
    ]
    | str
)


class RuleTally(Record):
    """Tries by what the rule said of them."""

    passed: int = 0
    failed: int = 0
    unknown: int = 0


class CategoryTally(Record):
    """One category over the samples whose mask holds it: samples asked for and accepted, tries by rule.

    `quota`: the accepted samples that would show it, were they shared out by 1/√frequency: a goal for rare ones.
    """

    id: int
    requested: int = 0
    accepted: int = 0
    generated: int = 0
    acceptance: float | None = None
    failed_by_rule: dict[str, int] = {}
    pixels: int = 0
    instances: int = 0
    quota: int = 0


class GoalTally(Record):
    """What was wanted of a category, what there is, and why it is less."""

    wanted: int
    accepted: int
    reached: bool
    reason: str | None = None


class DatasetReport(Record):
    """What R-Filter did to each category, and pixels by class before and after.

    `same_mask_distance`: mean distance of the hashes of accepted pictures of one mask, bits of 64.
    `pictures_not_kept` counts tries whose picture is gone; `unfiltered`: the random sample that no rule has chosen.
    """

    rules: dict[str, RuleTally] = {}
    categories: dict[str, CategoryTally] = {}
    histogram_before: dict[str, int] = {}
    histogram_after: dict[str, int] = {}
    same_mask_distance: float | None = None
    pictures_not_kept: int = 0
    unfiltered: list[int] = []
    goal: dict[str, GoalTally] | None = None
    warnings: list[str] = []


class Selection(Record):
    """What the data set delivers; every refiltering makes the next `number`."""

    number: int
    created_at: datetime | None = None
    filter: dict[str, Any] = {}
    counts: Counts = Counts()
    report: DatasetReport = DatasetReport()


class CategoryCounts(Record):
    generated: int = 0
    accepted: int = 0


class DatasetData(Record):
    """`selection` is null until the job has ended; `categories` grows while it runs."""

    id: str
    name: str = ""
    categories: dict[str, CategoryCounts] = {}
    selection: Selection | None = None
    links: dict[str, str] = {}


class Archive(FileRef):
    """The export's zip."""

    bytes: int
    sha256: str


class ExportData(Record):
    """`fidelity`: IoU of label → format → label by category. `archive` is there once it has succeeded."""

    id: str
    format: ExportFormat
    status: JobStatus
    selection: int | None = None
    created_at: datetime | None = None
    archive: Archive | None = None
    files_prefix: str | None = None
    pictures: int | None = None
    annotations: int | None = None
    fidelity: dict[str, float] | None = None
    report: dict[str, Any] | None = None
    error: Problem | None = None
