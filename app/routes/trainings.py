"""/v1/trainings: a ControlNet trained with CF-Comp on a training set, kept as a version of a model."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from app.accepting import CheckedView, checked
from app.auth import Reads, Trains
from app.bodies import parse_json
from app.dependencies import AppResources, Resources, id_in_path
from app.idempotency import Repeats
from app.openapi import json_body, refusals, success
from app.schemas import FileView, JobView, file_view, job_view
from worker.jobs import Job, ModelRef
from worker.layout import JOB_ID
from worker.results import TrainingOutcome, read_result
from worker.storage import Storage
from worker.training_intake import find_training, resolve_training, submit_training, training_spec
from worker.training_reports import (
    HistoryRow,
    read_history,
    read_validation,
    read_validations,
    tensorboard_files,
)
from worker.training_specs import TrainingRequest

router = APIRouter(prefix="/v1/trainings", tags=["trainings"])
TrainingId = Annotated[str, id_in_path("the training job's id", JOB_ID)]


class ValidationView(BaseModel):
    """What the model made of the fixed masks after a step: masks above, pictures below.

    `agreement`, in [0, 1], is the mean over categories of `iou`: how far R-Filter's segmenter finds the masks in the
    pictures. Null where the base has no segmenter.
    """

    step: int
    sheet: FileView
    sha256: str
    agreement: float | None
    iou: dict[str, float]


class TrainingView(JobView):
    """The job; its losses up to the last checkpoint, its validations, and what it made once it has succeeded.

    `tensorboard` are event files, which `tensorboard --logdir` shows together.
    """

    history: list[HistoryRow]
    validations: list[ValidationView]
    tensorboard: list[FileView]
    result: TrainingOutcome | None


@router.post(
    "",
    status_code=202,
    response_model=JobView | CheckedView,
    responses=success(200, "what was checked", model=CheckedView)
    | refusals(400, 404, 409, 410, 413, 415, 422, 429, 503),
    openapi_extra=json_body(TrainingRequest),
)
async def create_training(
    request: Request, response: Response, found: Resources, tenant: Trains, once: Repeats
) -> JobView | CheckedView:
    """Trains on a kept training set. What is not said is what suits the base; the answer shows all of it.

    The model is usable as `name@version`, the job's `model`, as soon as the job has succeeded.
    """
    asked = await parse_json(request, TrainingRequest)
    if asked.validate_only:
        return await run_in_threadpool(_check, found, response, tenant, asked)
    job = await once.job(asked, lambda job_id: _accept(found, tenant, asked, job_id))
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = "5"
    return await run_in_threadpool(job_view, job, found.intake.store.redis)


@router.get("/{training_id}", response_model=TrainingView, responses=refusals(404, 410, 422, 503))
def get_training(training_id: TrainingId, found: Resources, tenant: Reads) -> TrainingView:
    """The training as it is now; may be asked while it runs."""
    job = find_training(found.intake, tenant, training_id)
    return _view(job, job_view(job, found.intake.store.redis), found.intake.storage)


@router.get(
    "/{training_id}/validations/{step}",
    status_code=307,
    response_class=RedirectResponse,
    responses=refusals(404, 410, 422, 503),
)
def get_training_validation(
    training_id: TrainingId,
    step: Annotated[int, Path(ge=1, le=1_000_000, description="after which it was made")],
    found: Resources,
    tenant: Reads,
) -> RedirectResponse:
    """What the model made of the fixed masks after a step, masks above and pictures below: a redirect to the PNG."""
    job = find_training(found.intake, tenant, training_id)
    record = read_validation(found.intake.storage, job, step)
    return RedirectResponse(found.intake.storage.presign(record.sheet)[0])


def _accept(found: AppResources, tenant: str, asked: TrainingRequest, job_id: str) -> Job:
    resolved = resolve_training(found.intake, found.registry, tenant, asked)
    return submit_training(found.intake, found.registry, tenant, asked, resolved, job_id)


def _check(found: AppResources, response: Response, tenant: str, asked: TrainingRequest) -> CheckedView:
    resolved = resolve_training(found.intake, found.registry, tenant, asked)
    version = found.registry.free_version(tenant, asked.name, new_version=asked.new_version)
    spec = training_spec(asked, resolved, version)
    recipe = spec.recipe
    return checked(
        found,
        response,
        spec,
        ModelRef(name=asked.name, version=version, sha256=None),
        resolved.warnings,
        images=recipe.steps * recipe.batch_size,
        work=recipe.steps * recipe.batch_size * recipe.resolution**2,
        measured_as=f"training {spec.base_model}",
    )


def _view(job: Job, seen: JobView, storage: Storage) -> TrainingView:
    result = read_result(storage, job.tenant, job.id) if job.ended else None
    validations = [
        ValidationView(
            step=one.step,
            sheet=file_view(storage, one.sheet),
            sha256=one.sha256,
            agreement=one.agreement,
            iou=one.iou,
        )
        for one in read_validations(storage, job)
    ]
    return TrainingView(
        **dict(seen),
        history=read_history(storage, job),
        validations=validations,
        tensorboard=[file_view(storage, key) for key in tensorboard_files(storage, job)],
        result=result.training if result else None,
    )
