"""Problem documents (RFC 9457): refusals of the service, and why a job failed."""

from __future__ import annotations

from earthsynth.types.records import Record


class ProblemField(Record):
    """`pointer`: where in the request (RFC 6901)."""

    pointer: str
    message: str


class Problem(Record):
    """`code` is stable; docs/errors.md of the service lists every one."""

    code: str
    detail: str = ""
    title: str = ""
    status: int = 500
    type: str = ""
    instance: str | None = None
    errors: list[ProblemField] = []
    request_id: str | None = None
    retryable: bool = False
