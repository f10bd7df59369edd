"""What a training leaves behind as it goes: losses up to the last checkpoint, and what validations made."""

from __future__ import annotations

from pydantic import Field

from models.errors import NotFound
from worker.jobs import Frozen, Job
from worker.layout import history_prefix, tensorboard_prefix, validations_prefix
from worker.storage import Storage


class ValidationRecord(Frozen):
    """What was made of the fixed masks after a step. `sheet` is the key of a PNG, next to its `sha256`."""

    step: int
    sheet: str
    sha256: str
    agreement: float | None
    iou: dict[str, float] = Field(default_factory=dict)


class HistoryRow(Frozen):
    """The losses of one step, and the learning rate it took."""

    step: int
    loss_global: float
    loss_local: float
    learning_rate: float


def read_validations(storage: Storage, job: Job) -> list[ValidationRecord]:
    """The validations that a training has made until now, by step."""
    prefix = validations_prefix(job.tenant, job.id)
    keys = [key for key in storage.keys(prefix) if key.endswith(".json")]
    return [ValidationRecord.model_validate_json(storage.read(key)) for key in keys]


def read_validation(storage: Storage, job: Job, step: int) -> ValidationRecord:
    """Raises NotFound (validation_not_found): there was none after that step."""
    key = f"{validations_prefix(job.tenant, job.id)}{step:08d}.json"
    try:
        return ValidationRecord.model_validate_json(storage.read(key))
    except NotFound:
        raise NotFound("There is no validation of that step.", code="validation_not_found") from None


def read_history(storage: Storage, job: Job) -> list[HistoryRow]:
    """The losses of a training up to its last checkpoint, by step."""
    lines = (
        line
        for key in storage.keys(history_prefix(job.tenant, job.id))
        for line in storage.read(key).splitlines()
    )
    return [HistoryRow.model_validate_json(line) for line in lines]


def tensorboard_files(storage: Storage, job: Job) -> list[str]:
    """The keys of a training's TensorBoard files, attempt by attempt."""
    return list(storage.keys(tensorboard_prefix(job.tenant, job.id)))
