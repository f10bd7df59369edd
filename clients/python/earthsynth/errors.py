"""What can go wrong, as a small tree.

EarthSynthError
├── APIError                     the service answered with a problem document (status ≥ 400)
│   ├── BadRequest               400
│   ├── AuthenticationError      401
│   ├── PermissionDenied         403
│   ├── NotFound                 404
│   ├── Conflict                 409
│   ├── Gone                     410
│   ├── PayloadTooLarge          413
│   ├── UnsupportedMediaType     415
│   ├── UnprocessableRequest     422
│   ├── RateLimited              429
│   ├── ServerError              500 and the other 5xx
│   └── ServiceUnavailable       502, 503, 504
├── APIConnectionError           nobody answered, or the connection broke
│   └── APITimeoutError          … in time
├── UnexpectedAnswer             something answered that does not speak this API
├── JobFailed                    a job that was waited for failed
├── JobCanceled                  … or was canceled
├── WaitTimeout                  … or has not ended in time; it goes on
├── DownloadError                the bytes are not those that the API names
├── UnsafeArchive                an archive that is not unpacked
├── RequestError                 a call that could not be made into a request; nothing was sent
└── WebhookVerificationError     a webhook that must not be believed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earthsynth.types.jobs import JobData
    from earthsynth.types.problems import Problem


class EarthSynthError(Exception):
    """Every error of this package."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """`pointer`: where in the request (RFC 6901), or the parameter's name."""

    pointer: str
    message: str


class APIError(EarthSynthError):
    """The service refused, or failed. Decide by `code`, show `detail` to people, report `request_id`.

    `retryable`: the same request may succeed later; what could be repeated has been repeated already.
    `retry_after_seconds` is what the service asked for, where it did.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str,
        errors: tuple[FieldError, ...] = (),
        request_id: str | None = None,
        retryable: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail, self.status, self.code, self.errors = detail, status, code, errors
        self.request_id, self.retryable = request_id, retryable
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        fields = "".join(f"\n  {field.pointer}: {field.message}" for field in self.errors)
        known = f", request {self.request_id}" if self.request_id else ""
        return f"{self.detail} [{self.code}, {self.status}{known}]{fields}"


class BadRequest(APIError):
    """400: no valid JSON or form."""


class AuthenticationError(APIError):
    """401: no key, or one that is unknown or revoked. Set EARTHSYNTH_API_KEY."""


class PermissionDenied(APIError):
    """403: the key lacks the scope that this call needs."""


class NotFound(APIError):
    """404: absent, or not yours."""


class Conflict(APIError):
    """409: not in the state that this call needs, for example a job that has ended."""


class Gone(APIError):
    """410: it was there, and was deleted or has expired."""


class PayloadTooLarge(APIError):
    """413: over a limit that `client.capabilities()` publishes."""


class UnsupportedMediaType(APIError):
    """415: a file or body of a kind that the service does not read."""


class UnprocessableRequest(APIError):
    """422: see `errors` for each wrong field. Also an idempotency key that was used for another body."""


class RateLimited(APIError):
    """429: too many requests, or a full queue, for longer than the retries lasted."""


class ServerError(APIError):
    """5xx: the service met an error of its own."""


class ServiceUnavailable(ServerError):
    """502, 503, 504: away or overloaded, for longer than the retries lasted."""


class APIConnectionError(EarthSynthError):
    """Nobody answered, or the connection broke, for longer than the retries lasted.

    What was sent may have been done: repeat it with the same `idempotency_key`, and it is done once.
    """


class APITimeoutError(APIConnectionError, TimeoutError):
    """The answer did not come in time."""


class UnexpectedAnswer(EarthSynthError):
    """Something answered that is not this API, as a proxy's page; see `base_url`."""


class JobFailed(EarthSynthError):
    """The job ended without success; `problem` says why, `job` is the job as it ended."""

    def __init__(self, job: JobData, problem: Problem | None) -> None:
        self.job, self.problem = job, problem
        self.code = problem.code if problem else "unknown"
        self.detail = problem.detail if problem else "The service gave no reason."
        super().__init__(f"{job.kind} {job.id} failed: {self.detail} [{self.code}]")


class JobCanceled(EarthSynthError):
    """The job was canceled; what it had finished is kept in its results."""

    def __init__(self, job: JobData) -> None:
        super().__init__(f"{job.kind} {job.id} was canceled")
        self.job = job


class WaitTimeout(EarthSynthError, TimeoutError):
    """The job has not ended in time. It goes on: wait again, or cancel it."""

    def __init__(self, job: JobData, seconds: float) -> None:
        super().__init__(f"{job.kind} {job.id} is still {job.status} after {seconds:g} s; it goes on")
        self.job = job


class DownloadError(EarthSynthError):
    """The bytes are not those that the API names, or another process fetches the same file."""


class UnsafeArchive(EarthSynthError):
    """An archive with names or entries that must not become files, or more bytes than there is room for."""


class RequestError(EarthSynthError, ValueError):
    """The arguments make no request; nothing was sent."""


class WebhookVerificationError(EarthSynthError):
    """The signature is missing or wrong, or the timestamp too far from now: do not believe the payload."""


BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequest,
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    422: UnprocessableRequest,
    429: RateLimited,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


def class_for(status: int) -> type[APIError]:
    """The error of a status code."""
    return BY_STATUS.get(status, ServerError if status >= 500 else APIError)
