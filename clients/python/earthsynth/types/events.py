"""What happens to a job, while it happens."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from earthsynth.types.jobs import ENDED, Counts, JobData, JobStatus, Progress
from earthsynth.types.records import Record


class Event(Record):
    """`id` is the place in the stream, to go on from; null for an event that says how the job is now."""

    id: str | None = None
    type: str
    at: datetime | None = None

    @property
    def ends(self) -> bool:
        """Whether it says that the job has ended."""
        return False


class JobNow(Event):
    """How the job is; `error` is a failed job's code, `job` the whole job where the event carries it."""

    status: JobStatus
    phase: str | None = None
    attempts: int = 0
    counts: Counts | None = None
    error: str | None = None
    job: JobData | None = None

    @property
    def ends(self) -> bool:
        return self.status in ENDED


class StatusEvent(JobNow):
    """The job has another status, phase or number of attempts."""

    type: Literal["status"] = "status"


class ResyncEvent(JobNow):
    """Events are lost: this is how the job is now, and what is still kept follows."""

    type: Literal["resync"] = "resync"


class ProgressEvent(Event):
    """About four a second at most."""

    type: Literal["progress"] = "progress"
    progress: Progress
    phase: str | None = None
    counts: Counts | None = None


class SampleEvent(Event):
    """A sample of a generation is settled."""

    type: Literal["sample"] = "sample"
    index: int
    status: str
    seed: int | None = None
    attempt: int | None = None


class LogEvent(Event):
    """A worker says something for people."""

    type: Literal["log"] = "log"
    level: str = "info"
    message: str = ""
    fields: dict[str, Any] = {}
    attempt: int | None = None


_KINDS: dict[str, type[Event]] = {
    "status": StatusEvent,
    "resync": ResyncEvent,
    "progress": ProgressEvent,
    "sample": SampleEvent,
    "log": LogEvent,
}


def event_of(kind: str, event_id: str | None, data: dict[str, Any]) -> Event:
    """The typed event; a plain Event for a kind, or fields, that this version does not know."""
    fields = {**data, "type": kind, "id": event_id}
    try:
        return _KINDS.get(kind, Event).model_validate(fields)
    except ValidationError:
        return Event.model_validate(fields)
