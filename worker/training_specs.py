"""What is asked of a training: a client's request, and the spec that it becomes once every default is filled in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.cfcomp.options import CfCompOptions
from models.cfcomp.recipe import Recipe, recipe_for
from models.conditions import MAX_SEED
from models.errors import FieldError, InvalidInput
from models.model_card import ModelCard
from worker.job_request import JobRequest
from worker.jobs import Frozen, Progress
from worker.plain_text import Text
from worker.webhook_specs import WebhookRequest

_Text = Annotated[Text, StringConstraints(max_length=200)]


class TrainingRequest(Recipe, JobRequest):
    """A recipe, of which whatever is not said is what suits the base; what to train, on what, and how to call it."""

    training_set_id: _Text = Field(description="tset_<sha256>, see POST /v1/training-sets")
    base_model: _Text | None = Field(
        None, description="name or name@version to train on; default: see /v1/models"
    )
    name: _Text = Field(description="of the model: lower-case letters, digits and hyphens")
    new_version: bool = Field(False, description="add a version to a name that has some")
    resume_from: _Text | None = Field(
        None,
        description="a training that ended early, whose last checkpoint this one begins with; of the same set, base "
        "and recipe",
    )


class PreviewRequest(BaseModel):
    """Of which training to see the first steps: fields of the same name mean the same there.

    As there, what is not said is what suits the base.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    training_set_id: _Text
    base_model: _Text | None = Field(None, description="name or name@version; default: see /v1/models")
    resolution: int = Field(512, ge=64, le=1024, multiple_of=8, description="side of the samples, pixels")
    seed: int = Field(0, ge=0, le=MAX_SEED)
    batch_size: int = Field(16, ge=2, le=64, description="samples of a step")
    max_zoom_out: float = Field(1, ge=1, le=4)
    orientations: bool = True
    single_category: float = Field(0.15, ge=0, le=1)
    cf_comp: CfCompOptions = CfCompOptions()
    count: int = Field(8, ge=1, le=24, description="composed pairs to show")


class TrainingSpec(Frozen):
    """One training, every default filled in: what is stored, queued by id, and read by the task."""

    kind: Literal["training"] = "training"
    training_set_id: str
    base_model: str
    name: str
    version: str
    pairs: int
    recipe: Recipe
    resume_from: str | None = None
    webhook: WebhookRequest | None = None

    @property
    def samples(self) -> int:
        """A training settles steps, no samples."""
        return 0

    @property
    def progress(self) -> Progress:
        return Progress(total=self.recipe.steps, unit="steps")


def resolve_recipe(asked: TrainingRequest | PreviewRequest, base: ModelCard) -> Recipe:
    """The recipe with what suits the base where nothing is asked.

    Raises InvalidInput: unsupported_size, a resolution that the base cannot make. Raises pydantic's error for values
    that do not go together.
    """
    said: dict[str, Any] = {
        name: getattr(asked, name) for name in asked.model_fields_set & Recipe.model_fields.keys()
    }
    recipe = recipe_for(base.family, said)
    if recipe.resolution % base.size_multiple or recipe.resolution > base.max_side:
        message = f"must be a multiple of {base.size_multiple} and at most {base.max_side}"
        raise InvalidInput(
            f"Model {base.name} cannot make {recipe.resolution} px pictures: resolution {message}.",
            code="unsupported_size",
            errors=[FieldError("/resolution", message)],
        )
    return recipe
