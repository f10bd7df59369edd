"""Every error this system raises on purpose.

EarthSynthError
├── InvalidInput            understood but not acceptable; says what to change
│   ├── MaskRefused         a mask file that cannot be read bit for bit
│   ├── UnknownCategory     a category or ontology nobody knows
│   ├── UnknownModel        a model that is not offered here; says which are
│   └── CategoryMismatch    a category the mask lacks, or the model was not trained on
├── Malformed               cannot be parsed at all
├── UnsupportedFormat       a file whose content is of a kind we do not read
├── TooLarge                more bytes than the published limit
├── TooSlow                 a body that did not come in time
├── Unauthorized            no key, or none that is good
├── Forbidden               a good key without the scope that this needs
├── NotFound                absent, or not yours
├── Gone                    was here, and was deleted or has expired
├── Conflict                the thing exists but is in a state that forbids this
│   └── InProgress          the same request is under way; ask again
├── Overloaded              the queue is full; try again later
├── Unavailable             a part we depend on is away; try again
├── ExportUnreadable        a public reader finds something else in an export than was written (models/export)
├── TrainingFailed          a training cannot begin, or go on; says what to change
└── SynthesisError          the worker could not make the picture
    ├── ModelUnavailable    weights absent, damaged or refused
    └── NotFinite           the pipeline produced NaN or infinity
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong place in the input: an RFC 6901 JSON pointer ("/num_images") and a sentence."""

    pointer: str
    message: str


class EarthSynthError(Exception):
    """Carries a stable code, one sentence that is safe to show, and where in the input it applies."""

    default_code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.errors = tuple(errors)


class InvalidInput(EarthSynthError):
    default_code = "invalid_request"


class MaskRefused(InvalidInput):
    """`code` is one of the mask codes listed in docs/errors.md (damaged_file, unknown_label, …)."""

    default_code = "not_a_label_mask"


class UnknownCategory(InvalidInput):
    default_code = "unknown_category"


class UnknownModel(InvalidInput):
    default_code = "unknown_model"


class CategoryMismatch(InvalidInput):
    default_code = "category_not_in_mask"


class Malformed(EarthSynthError):
    default_code = "malformed_request"


class UnsupportedFormat(EarthSynthError):
    default_code = "unsupported_format"


class TooLarge(EarthSynthError):
    default_code = "too_large"


class TooSlow(EarthSynthError):
    default_code = "request_timeout"
    retryable = True


class Unauthorized(EarthSynthError):
    default_code = "invalid_key"


class Forbidden(EarthSynthError):
    default_code = "missing_scope"


class NotFound(EarthSynthError):
    default_code = "not_found"


class Gone(EarthSynthError):
    default_code = "gone"


class Conflict(EarthSynthError):
    default_code = "conflict"


class InProgress(Conflict):
    default_code = "idempotency_in_progress"
    retryable = True
    retry_after_seconds = 1


class Overloaded(EarthSynthError):
    default_code = "queue_full"
    retryable = True

    def __init__(self, message: str, *, code: str | None = None, retry_after_seconds: int = 10) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(EarthSynthError):
    default_code = "unavailable"
    retryable = True

    def __init__(self, message: str, *, code: str | None = None, retry_after_seconds: int = 2) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class TrainingFailed(EarthSynthError):
    default_code = "training_failed"


class SynthesisError(EarthSynthError):
    default_code = "synthesis_failed"


class ModelUnavailable(SynthesisError):
    default_code = "model_unavailable"


class NotFinite(SynthesisError):
    """`indices`: the conditions whose pictures these are."""

    default_code = "not_finite"

    def __init__(self, message: str, *, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = tuple(indices)
