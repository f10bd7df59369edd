"""Jobs as the standard shows them, and the list of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from fastapi import Request
from pydantic import BaseModel

from app.dependencies import AppResources
from app.ogc.links import JSON, PROCESS_ID, RESULTS_REL, Link, link
from app.pages import cursor_after, place_of
from models.errors import FieldError, InvalidInput, NotFound
from worker.job_lists import list_jobs
from worker.jobs import Job, JobKind, JobStatus, now

_PAGE = 200
_MOST_PAGES = 10


class StatusCode(StrEnum):
    ACCEPTED = "accepted"  # it waits
    RUNNING = "running"  # a worker makes it
    SUCCESSFUL = "successful"  # its results are there
    FAILED = "failed"  # `message` says why
    DISMISSED = "dismissed"  # somebody has canceled it


class StatusInfo(BaseModel):
    """`progress` in percent; `updated` is when the status last changed. What is not known yet is left out."""

    jobID: str  # noqa: N815  (the standard's spelling)
    processID: str  # noqa: N815
    type: Literal["process"] = "process"
    status: StatusCode
    message: str | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    updated: datetime
    progress: int
    links: list[Link]


class JobList(BaseModel):
    jobs: list[StatusInfo]
    links: list[Link]


_STATUS = {
    JobStatus.QUEUED: StatusCode.ACCEPTED,
    JobStatus.RUNNING: StatusCode.RUNNING,
    JobStatus.SUCCEEDED: StatusCode.SUCCESSFUL,
    JobStatus.FAILED: StatusCode.FAILED,
    JobStatus.CANCELED: StatusCode.DISMISSED,
}
_OURS = {code: status for status, code in _STATUS.items()}


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows; None: no such bound. Durations in seconds; bounds are included."""

    statuses: frozenset[StatusCode]
    created: tuple[datetime | None, datetime | None]
    min_seconds: int | None
    max_seconds: int | None

    @property
    def words(self) -> list[str]:
        """What a cursor is good for."""
        bounds = (*self.created, self.min_seconds, self.max_seconds)
        return [*sorted(self.statuses), *map(str, bounds)]

    def shows(self, job: Job) -> bool:
        first, last = self.created
        if _STATUS[job.status] not in self.statuses:
            return False
        if (first is not None and job.created_at < first) or (last is not None and job.created_at > last):
            return False
        if self.min_seconds is None and self.max_seconds is None:
            return True
        if job.started_at is None:  # it has no duration
            return False
        seconds = ((job.finished_at or now()) - job.started_at).total_seconds()
        return (self.min_seconds or 0) <= seconds and (
            self.max_seconds is None or seconds <= self.max_seconds
        )


def find_job(found: AppResources, tenant: str, job_id: str) -> Job:
    """Raises NotFound: absent, another tenant's, or a job of another kind than the process makes."""
    absent = NotFound("There is no such job.", code="no_such_job")
    try:
        job = found.intake.find(tenant, job_id)
    except NotFound:
        raise absent from None
    if job.kind is not JobKind.GENERATION:
        raise absent
    return job


def status_info(request: Request, job: Job, *, dismissed: bool = False, deleted: bool = False) -> StatusInfo:
    """The job as it is now; `dismissed`: as it will be in a moment; `deleted`: as it was, and is no more."""
    status = StatusCode.DISMISSED if dismissed or deleted else _STATUS[job.status]
    links = [] if deleted else [link(request, f"/jobs/{job.id}", "self", "this document")]
    if status is StatusCode.SUCCESSFUL:
        links.append(link(request, f"/jobs/{job.id}/results", RESULTS_REL, "results"))
    return StatusInfo(
        jobID=job.id,
        processID=PROCESS_ID,
        status=status,
        message="It is deleted, with all that it made." if deleted else _message(job, status),
        created=job.created_at,
        started=job.started_at,
        finished=job.finished_at,
        updated=job.finished_at or job.started_at or job.created_at,
        progress=_percent(job),
        links=links,
    )


def _message(job: Job, status: StatusCode) -> str | None:
    if job.error is not None:
        return job.error.detail
    if status is StatusCode.DISMISSED and not job.ended:
        return "It stops within one denoising step."
    return None


def _percent(job: Job) -> int:
    if job.status is JobStatus.SUCCEEDED:
        return 100
    progress = job.progress
    done = progress.done + (progress.step / progress.steps if progress.steps else 0)
    return max(0, min(99, int(100 * done / progress.total))) if progress.total else 0


def job_list(
    request: Request, found: AppResources, tenant: str, wanted: JobFilter, limit: int, cursor: str | None
) -> JobList:
    """The jobs that the filter shows, newest first. A page may be short, and still have a next one."""
    scope = (tenant, "ogc", *wanted.words)
    last = place_of(cursor, *scope)
    shown: list[StatusInfo] = []
    more = bool(wanted.statuses)
    for job, before in _newest_first(found, tenant, wanted, last) if more else ():
        if len(shown) == limit:
            break
        last = before
        if job is None:
            more = before is not None
        elif wanted.shows(job):
            shown.append(status_info(request, job))
    links = [Link(href=str(request.url), rel="self", type=JSON, title="this document")]
    if more and last is not None:
        following = request.url.include_query_params(cursor=cursor_after(last, *scope))
        links.append(Link(href=str(following), rel="next", type=JSON, title="older jobs"))
    return JobList(jobs=shown, links=links)


def _newest_first(
    found: AppResources, tenant: str, wanted: JobFilter, before: str | None
) -> Iterator[tuple[Job | None, str | None]]:
    """The tenant's generations, each with the place after it; at last None, with a place where there may be more."""
    status = _OURS[next(iter(wanted.statuses))] if len(wanted.statuses) == 1 else None
    for _ in range(_MOST_PAGES):
        jobs, following = list_jobs(
            found.intake.store, tenant, limit=_PAGE, before=before, kind=JobKind.GENERATION, status=status
        )
        yield from ((job, job.id) for job in jobs)
        before = following
        if before is None:
            break
    yield None, before


def interval(text: str | None) -> tuple[datetime | None, datetime | None]:
    """The first and last moment of an RFC 3339 instant or interval ("a/b", "../b", "a/.."). Raises InvalidInput."""
    if text is None:
        return None, None
    sides = text.split("/")
    try:
        if len(sides) == 1:
            return _moment(text), _moment(text)
        first, last = sides
        found = _end(first), _end(last)
    except ValueError:
        message = (
            "must be a time like 2026-11-26T19:32:13Z, or two of them with a / between, .. for an open end"
        )
        raise InvalidInput(
            f"datetime {message}.", code="invalid_period", errors=[FieldError("/datetime", message)]
        ) from None
    return found


def _end(text: str) -> datetime | None:
    return None if text in {"", ".."} else _moment(text)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
