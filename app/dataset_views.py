"""What clients see of data sets and their exports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from redis import Redis

from app.problems import Problem
from app.schemas import FileView, JobView, file_view, job_problem, job_view
from models.categories import CATEGORIES
from models.export.options import ExportFormat
from worker.acceptance import Report
from worker.dataset_specs import ExportSpec
from worker.jobs import Counts, Job, JobStatus
from worker.rendering import FilterSpec
from worker.results import read_result
from worker.selection import Selection
from worker.storage import Storage
from worker.window import by_category


class SelectionView(BaseModel):
    """What the data set delivers since `created_at`; every refiltering makes the next `number`."""

    number: int
    created_at: datetime
    filter: FilterSpec
    counts: Counts
    report: Report


class DatasetLinks(BaseModel):
    self: str
    job: str
    samples: str
    refilter: str
    exports: str


class CategoryCounts(BaseModel):
    """`generated` pictures whose mask holds the category, `accepted` samples among them, so far."""

    generated: int
    accepted: int


class DatasetView(BaseModel):
    """The job and its current selection, which is null until the job has ended.

    `categories`: what finished shards have made of each category; while the job runs, it grows. What was accepted is
    final only in the selection, where samples are compared with each other.
    """

    id: str
    name: str
    job: JobView
    categories: dict[str, CategoryCounts]
    selection: SelectionView | None
    links: DatasetLinks


class ArchiveView(FileView):
    bytes: int
    sha256: str


class ExportView(BaseModel):
    """`fidelity`: IoU of label → format → label by category. `files_prefix`: the same files as plain objects."""

    id: str
    format: ExportFormat
    status: JobStatus
    selection: int
    created_at: datetime
    archive: ArchiveView | None
    files_prefix: str | None
    pictures: int | None
    annotations: int | None
    fidelity: dict[str, float] | None
    report: dict[str, Any] | None
    error: Problem | None


class ExportPage(BaseModel):
    items: list[ExportView]
    next_cursor: str | None = None


def dataset_view(job: Job, selection: Selection | None, redis: Redis) -> DatasetView:
    path = f"/v1/datasets/{job.id}"
    return DatasetView(
        id=job.id,
        name=job.request["name"],
        job=job_view(job, redis),
        categories={
            CATEGORIES[number].name: CategoryCounts(generated=generated, accepted=accepted)
            for number, (generated, accepted) in sorted(by_category(redis, job.id).items())
        },
        selection=None
        if selection is None
        else SelectionView(
            number=selection.number,
            created_at=selection.created_at,
            filter=selection.filter,
            counts=selection.counts,
            report=selection.report,
        ),
        links=DatasetLinks(
            self=path,
            job=f"/v1/jobs/{job.id}",
            samples=f"{path}/samples",
            refilter=f"{path}/refilter",
            exports=f"{path}/exports",
        ),
    )


def export_view(job: Job, storage: Storage) -> ExportView:
    """The export; its archive with a fresh presigned URL once it has succeeded."""
    spec = ExportSpec.model_validate(job.request)
    result = read_result(storage, job.tenant, job.id) if job.status is JobStatus.SUCCEEDED else None
    made = result.export if result else None
    archive = report = None
    if made is not None:
        file = file_view(storage, made.archive_key)
        archive = ArchiveView(**dict(file), bytes=made.archive_bytes, sha256=made.archive_sha256)
        report = made.report
    return ExportView(
        id=job.id,
        format=spec.options.format,
        status=job.status,
        selection=spec.selection,
        created_at=job.created_at,
        archive=archive,
        files_prefix=made.files_prefix if made else None,
        pictures=report["pictures"] if report else None,
        annotations=report["annotations"] if report else None,
        fidelity=report["fidelity"] if report else None,
        report=report,
        error=job_problem(job),
    )
