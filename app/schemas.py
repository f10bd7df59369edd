"""What clients see: the shapes of the HTTP contract, and how records become them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from redis import Redis

from app.problems import Problem, problem
from models.affine import Affine
from models.georeference import Georeference
from worker.jobs import Attempt, Counts, Job, JobKind, JobStatus, ModelRef, Phase, Progress
from worker.mask_records import MaskCategory, MaskRecord
from worker.queue import position, queue_of
from worker.samples import FileName, FilterVerdict, LabelAnnotation, SampleRecord, SampleStatus
from worker.storage import Storage


class QueueView(BaseModel):
    """`position` 0 is next; `eta_seconds` is null where no worker's speed is known yet."""

    position: int
    eta_seconds: float | None = None


class JobLinks(BaseModel):
    self: str
    events: str
    results: str
    cancel: str


class FileView(BaseModel):
    """A presigned URL, valid until `expires_at`; `link` redirects to a fresh one, for callers with a key."""

    url: str
    expires_at: datetime
    link: str


class ImageView(FileView):
    sha256: str
    width: int
    height: int


class LabelsView(BaseModel):
    """`categories` cover at least 1 % of the picture; `annotations` are connected areas of things."""

    categories: list[str]
    annotations: list[LabelAnnotation]


class SampleFileView(FileView):
    sha256: str


class SampleView(BaseModel):
    """One sample and its labels. `mask_sha256` is the sha256 of the file at `mask.url`, bit for bit.

    `status` is accepted or exhausted: every try was rejected by R-Filter. `image` is null for an exhausted one whose
    picture was not kept. `label` is the mask with 255 where R-Filter says ignore; it is the mask itself where it
    says so nowhere. `init_image_sha256` names the given picture that the image is a composite with, where there was
    one. `try_number` counts from 0. `files` are there for masks that say where they lie (GeoTIFFs and world files;
    without a label_geotiff the mask's is the label's) or which objects are apart (instances).
    """

    index: int
    status: SampleStatus
    seed: int
    prompt: str
    mask_id: str
    mask_sha256: str
    image: ImageView | None
    mask: FileView
    label: FileView
    labels: LabelsView
    filter: FilterVerdict
    group: str
    transform: dict[str, Any]
    init_image_sha256: str | None = None
    try_number: int
    attempt: int
    georeference: GeoreferenceView | None = None
    files: dict[FileName, SampleFileView] = {}
    custom_id: str | None = None
    metadata: dict[str, str] = {}


class JobView(BaseModel):
    id: str
    kind: JobKind
    status: JobStatus
    phase: Phase | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    progress: Progress
    queue: QueueView | None
    counts: Counts
    attempts: list[Attempt]
    request: dict[str, Any]
    model: ModelRef
    warnings: list[str]
    custom_id: str | None
    metadata: dict[str, str]
    retried_from: str | None
    error: Problem | None
    links: JobLinks


class FinishedJobView(JobView):
    """The answer of a POST that waited until the job ended: the job with its samples."""

    samples: list[SampleView]


class JobPage(BaseModel):
    items: list[JobView]
    next_cursor: str | None = None


class SamplePage(BaseModel):
    items: list[SampleView]
    next_cursor: str | None = None


class GeoreferenceView(BaseModel):
    """Where a mask or a picture lies. `crs`: its EPSG code; null: none, or one that has no code (`has_geokeys`).

    `transform` [a, b, c, d, e, f] takes the corner (column, row) of a pixel to (a·column + b·row + c,
    d·column + e·row + f); `bounds` are left, bottom, right, top. `nodata` is what the file itself calls no data.
    """

    crs: str | None
    has_geokeys: bool
    transform: Affine
    bounds: tuple[float, float, float, float]
    nodata: int | None


class MaskView(BaseModel):
    """`georeference`: where it lies, if it says so. `instances`: how many objects it tells apart, if it does."""

    id: str
    width: int
    height: int
    encoding: str
    ontology: str
    categories: list[MaskCategory]
    warnings: list[str]
    preview_url: str
    georeference: GeoreferenceView | None = None
    instances: int | None = None


def job_view(job: Job, redis: Redis) -> JobView:
    """The job as clients see it; a queued one with its place in the queue."""
    place = position(redis, job.id, queue_of(job.kind)) if job.status is JobStatus.QUEUED else None
    return JobView(
        id=job.id,
        kind=job.kind,
        status=job.status,
        phase=job.phase,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
        progress=job.progress,
        queue=None if place is None else QueueView(position=place, eta_seconds=None),
        counts=job.counts,
        attempts=list(job.attempts),
        request=job.request,
        model=job.model,
        warnings=list(job.warnings),
        custom_id=job.custom_id,
        metadata=job.metadata,
        retried_from=job.retried_from,
        error=job_problem(job),
        links=JobLinks(
            self=f"/v1/jobs/{job.id}",
            events=f"/v1/jobs/{job.id}/events",
            results=f"/v1/jobs/{job.id}/results",
            cancel=f"/v1/jobs/{job.id}/cancel",
        ),
    )


def job_problem(job: Job) -> Problem | None:
    """Why the job failed, as the problem document that an answer would be."""
    error = job.error
    if error is None:
        return None
    return problem(500, error.code, error.detail, retryable=error.retryable, instance=f"/v1/jobs/{job.id}")


def sample_view(record: SampleRecord, job: Job, storage: Storage) -> SampleView:
    image = record.image
    return SampleView(
        index=record.index,
        status=record.status,
        seed=record.seed,
        prompt=record.prompt,
        mask_id=record.mask_id,
        mask_sha256=record.mask_sha256,
        image=None
        if image is None
        else ImageView(
            **dict(file_view(storage, image.key)), sha256=image.sha256, width=image.width, height=image.height
        ),
        mask=file_view(storage, record.mask_key),
        label=file_view(storage, record.label.key if record.label else record.mask_key),
        labels=LabelsView(
            categories=list(record.labels.categories), annotations=list(record.labels.annotations)
        ),
        filter=record.filter,
        group=record.group,
        transform=record.transform,
        init_image_sha256=record.init_image_sha256,
        try_number=record.try_number,
        attempt=record.attempt,
        georeference=None
        if image is None
        else georeference_view(record.georeference, image.width, image.height),
        files={
            name: SampleFileView(**dict(file_view(storage, found.key)), sha256=found.sha256)
            for name, found in record.files.items()
        },
        custom_id=job.custom_id,
        metadata=job.metadata,
    )


def file_view(storage: Storage, key: str) -> FileView:
    url, ends = storage.presign(key)
    return FileView(url=url, expires_at=ends, link=f"/v1/files/{key.partition('/')[2]}")


def mask_view(record: MaskRecord) -> MaskView:
    return MaskView(
        id=record.id,
        width=record.width,
        height=record.height,
        encoding=record.encoding,
        ontology=record.ontology,
        categories=list(record.categories),
        warnings=list(record.warnings),
        preview_url=f"/v1/masks/{record.id}/preview",
        georeference=georeference_view(record.georeference, record.width, record.height),
        instances=record.instances,
    )


def georeference_view(found: Georeference | None, width: int, height: int) -> GeoreferenceView | None:
    """How clients see where something of that size in pixels lies."""
    if found is None:
        return None
    return GeoreferenceView(
        crs=None if found.epsg is None else f"EPSG:{found.epsg}",
        has_geokeys=found.geokeys is not None,
        transform=found.transform,
        bounds=found.bounds(width, height),
        nodata=found.nodata,
    )
