"""Where trainings come in: everything is checked, then a version is reserved and a job queued."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models.cfcomp.recipe import Recipe
from models.errors import Conflict, FieldError, InvalidInput, NotFound, UnknownModel
from models.model_card import ModelCard
from worker.intake import Intake
from worker.jobs import Job, JobKind, ModelRef
from worker.registry import ModelRegistry
from worker.training_set_manifest import TrainingSetRecord, find_training_set
from worker.training_specs import TrainingRequest, TrainingSpec, resolve_recipe


@dataclass(frozen=True, slots=True)
class ResolvedTraining:
    """What would be trained, every default filled in; its version has no number yet."""

    base: ModelCard
    training_set: TrainingSetRecord
    recipe: Recipe
    warnings: tuple[str, ...]


def resolve_training(
    intake: Intake, registry: ModelRegistry, tenant: str, asked: TrainingRequest
) -> ResolvedTraining:
    """The training that is asked for; nothing is reserved or stored.

    Raises:
        UnknownModel: the base. NotFound: training_set_not_found, mask_not_found, training_not_found.
        InvalidInput: unsupported_size, invalid_model_name, resume_mismatch; pydantic's, for values that do not go
            together; url_not_allowed and others of a webhook. Conflict: training_not_ended.
    """
    intake.check_webhook(tenant, asked.webhook)
    base = find_base(registry, tenant, asked.base_model)
    training_set = find_training_set(intake.storage, tenant, asked.training_set_id)
    recipe = resolve_recipe(asked, base)
    for place, mask_id in enumerate(recipe.validation.mask_ids):
        _check_mask(intake, tenant, mask_id, f"/validation/mask_ids/{place}")
    model = f"{base.name}@{base.version}"
    if asked.resume_from is not None:
        _check_resumed(
            intake, tenant, asked.resume_from, set_id=training_set.id, base_model=model, recipe=recipe
        )
    return ResolvedTraining(
        base, training_set, recipe, (*training_set.warnings, *_warnings(training_set, base, recipe))
    )


def submit_training(
    intake: Intake,
    registry: ModelRegistry,
    tenant: str,
    asked: TrainingRequest,
    resolved: ResolvedTraining,
    job_id: str,
) -> Job:
    """Accepts the training. Raises InvalidInput (invalid_model_name), Conflict (model_name_in_use), Overloaded."""
    intake.check_room(tenant, JobKind.TRAINING)
    version = registry.reserve(tenant, asked.name, job_id, new_version=asked.new_version)
    spec = training_spec(asked, resolved, version)
    made = ModelRef(name=asked.name, version=version, sha256=None)
    return intake.submit(
        tenant, spec, made, resolved.warnings, job_id=job_id, progress=spec.progress, own=asked.own
    )


def training_spec(asked: TrainingRequest, resolved: ResolvedTraining, version: str) -> TrainingSpec:
    return TrainingSpec(
        training_set_id=resolved.training_set.id,
        base_model=f"{resolved.base.name}@{resolved.base.version}",
        name=asked.name,
        version=version,
        pairs=resolved.training_set.pairs,
        recipe=resolved.recipe,
        resume_from=asked.resume_from,
        webhook=asked.webhook,
    )


def find_base(registry: ModelRegistry, tenant: str, wanted: str | None) -> ModelCard:
    """The model to train on. Raises UnknownModel, which points to base_model."""
    try:
        return registry.find(tenant, wanted)
    except UnknownModel as error:
        raise UnknownModel(error.message, errors=[FieldError("/base_model", error.message)]) from error


def _check_mask(intake: Intake, tenant: str, mask_id: str, pointer: str) -> None:
    try:
        intake.find_mask(tenant, mask_id)
    except NotFound as error:
        raise NotFound(error.message, code=error.code, errors=[FieldError(pointer, error.message)]) from error


def _check_resumed(
    intake: Intake, tenant: str, job_id: str, *, set_id: str, base_model: str, recipe: Recipe
) -> None:
    """The earlier training must have ended, and have been of the same data, base and recipe."""
    try:
        job = intake.find(tenant, job_id)
    except NotFound:
        job = None
    if job is None or job.kind is not JobKind.TRAINING:
        message = "There is no such training."
        raise NotFound(message, code="training_not_found", errors=[FieldError("/resume_from", message)])
    if not job.ended:
        raise Conflict(f"The training {job_id} is {job.status}; cancel it first.", code="training_not_ended")
    earlier = TrainingSpec.model_validate(job.request)
    pairs: list[tuple[str, object, object]] = [
        ("training_set_id", earlier.training_set_id, set_id),
        ("base_model", earlier.base_model, base_model),
        ("the recipe", earlier.recipe.digest, recipe.digest),
    ]
    different = [name for name, old, new in pairs if old != new]
    if different:
        message = f"{', '.join(different)} must be that of {job_id}"
        raise InvalidInput(
            f"A training goes on with what it began with: {message}.",
            code="resume_mismatch",
            errors=[FieldError("/resume_from", message)],
        )


def _warnings(training_set: TrainingSetRecord, base: ModelCard, recipe: Recipe) -> Iterator[str]:
    """What the set and the base, or the recipe, say together; what the set alone says is in its own warnings."""
    new = [found.name for found in training_set.categories if found.id not in base.category_ids]
    if new:
        yield f"{base.name} does not know yet: {', '.join(new)}."
    if recipe.batch_size > training_set.pairs:
        yield (f"A batch of {recipe.batch_size} shows some of the {training_set.pairs} pairs more than once.")


def find_training(intake: Intake, tenant: str, training_id: str) -> Job:
    """The training's job. Raises NotFound (training_not_found)."""
    absent = NotFound("There is no such training.", code="training_not_found")
    try:
        job = intake.find(tenant, training_id)
    except NotFound:
        raise absent from None
    if job.kind is not JobKind.TRAINING:
        raise absent
    return job
