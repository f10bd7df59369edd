"""What a data-set job is asked for, and the spec that it becomes once every default is filled in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.categories import CATEGORIES, find_category
from models.condition_sampling import ConditionOptions
from models.errors import FieldError, InvalidInput
from models.export.options import ExportFormat, ExportOptions
from models.export.splits import check_split_name
from models.masks import SizePolicy
from models.model_card import ModelCard, check_categories, rarity_warnings
from models.tiling import count_tiles
from worker.job_request import JobRequest
from worker.mask_sets import MaskSetRecord
from worker.plain_text import Text
from worker.rendering import Rendering, RenderingRequest
from worker.sizes import MAX_TILES, check_tiles, own_size
from worker.webhook_specs import WebhookRequest

MAX_SAMPLES = 1_000_000
MAX_SAMPLES_PER_MASK = 1000
_Share = Annotated[float, Field(ge=0, le=1)]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MasksRequest(_Asked):
    """Exactly one of a mask set and a list of masks."""

    mask_set_id: str | None = Field(None, max_length=200, description="mset_…, from POST /v1/mask-sets")
    mask_ids: tuple[Annotated[str, Field(max_length=200)], ...] | None = Field(
        None, min_length=1, max_length=1000, description="msk_…, from POST /v1/masks"
    )

    @model_validator(mode="after")
    def _one(self) -> MasksRequest:
        if (self.mask_set_id is None) == (self.mask_ids is None):
            raise ValueError("send exactly one of mask_set_id and mask_ids")
        return self


class Goal(_Asked):
    """So many accepted samples of each category; the job goes on until they are there, or it cannot."""

    accepted_per_category: dict[
        Annotated[str, Field(max_length=60)], Annotated[int, Field(ge=1, le=100_000)]
    ] = Field(min_length=1, max_length=66, description="category name → accepted samples that show it")
    max_tries: int | None = Field(
        None, ge=1, le=MAX_SAMPLES, description="pictures generated in all; default: 4 for each sample wanted"
    )
    max_seconds: float | None = Field(None, gt=0, le=2_592_000, description="time after which it stops; none")


def _whole(shares: dict[str, float]) -> dict[str, float]:
    for name in shares:
        try:
            check_split_name(name)
        except InvalidInput as error:
            raise ValueError(error.message) from error
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError("the shares must add up to 1")
    return shares


Splits = Annotated[dict[str, _Share], Field(min_length=1, max_length=10), AfterValidator(_whole)]


def _named(value: Any) -> Any:
    """A format's name alone stands for it with every option's default."""
    return {"format": value} if isinstance(value, str) else value


_NamedOptions = Annotated[
    ExportOptions, BeforeValidator(_named, json_schema_input_type=ExportFormat | ExportOptions)
]
DEFAULT_SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}


class DatasetSpec(Rendering):
    """Many masks, filtered samples of them, every default filled in. `shard_images`: samples in one queue entry."""

    kind: Literal["dataset"] = "dataset"
    name: str
    licence: str
    mask_set_id: str
    masks: int
    samples_per_mask: int | None
    goal: Goal | None
    prompt: str | None
    conditions: ConditionOptions
    splits: dict[str, float]
    formats: tuple[ExportOptions, ...]
    shard_images: int = Field(ge=1)
    retry_samples: int | None = Field(
        None, description="of a retried data set: how many samples it makes, of a plan of its own"
    )

    @property
    def samples(self) -> int:
        """How many samples it asks for; with a goal more may have to be made."""
        if self.retry_samples is not None:
            return self.retry_samples
        if self.goal is not None:
            return sum(self.goal.accepted_per_category.values())
        return self.masks * (self.samples_per_mask or 0)


class DatasetRequest(RenderingRequest, JobRequest):
    """What a client asks of a data set."""

    name: Text = Field(
        "synthetic data set", min_length=1, max_length=100, description="for its card and report"
    )
    licence: Text = Field(
        "other",
        min_length=1,
        max_length=200,
        description="SPDX identifier or URL, for its card: yours to choose",
    )
    masks: MasksRequest
    samples_per_mask: int | None = Field(
        None, ge=1, le=MAX_SAMPLES_PER_MASK, description="exactly one of samples_per_mask and goal"
    )
    goal: Goal | None = None
    prompt: Text | None = Field(
        None,
        min_length=1,
        max_length=500,
        description="one text for all; default: each mask's own categories",
    )
    conditions: ConditionOptions = ConditionOptions()
    splits: Splits = Field(default_factory=lambda: dict(DEFAULT_SPLITS))
    formats: tuple[_NamedOptions, ...] = Field(
        (), max_length=20, description="exported when done: names of formats, or objects with options too"
    )

    @model_validator(mode="after")
    def _one_measure(self) -> DatasetRequest:
        if (self.samples_per_mask is None) == (self.goal is None):
            raise ValueError("send exactly one of samples_per_mask and goal")
        return self


class ExportRequest(ExportOptions, JobRequest):
    """An export of a data set: its format and options, and other splits than the data set's own."""

    splits: Splits | None = None

    @property
    def options(self) -> ExportOptions:
        return ExportOptions(**self.model_dump(include=set(ExportOptions.model_fields)))


class ExportSpec(BaseModel):
    """What an export job writes: one selection of one data set, in one format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["export"] = "export"
    dataset_id: str
    selection: int
    options: ExportOptions
    splits: dict[str, float]
    samples: int
    webhook: WebhookRequest | None = None


def resolve_dataset(
    request: DatasetRequest,
    masks: MaskSetRecord,
    card: ModelCard,
    *,
    shard_images: int,
    sizes: Collection[tuple[int, int]] = (),
    max_tiles: int = MAX_TILES,
) -> tuple[DatasetSpec, tuple[str, ...]]:
    """The request with every default filled in, and warnings.

    For size_policy=tile: `sizes` (width, height) of the masks, and the most tiles of one picture. In a shard a tile
    counts as a picture.

    Raises InvalidInput, UnknownCategory or CategoryMismatch for what the model or the masks do not allow.
    """
    present = {found.id for found in masks.categories} - {0, 255}
    check_categories(card, present)
    tiled = request.size_policy is SizePolicy.TILE
    tiles = _check_tiles(request, sizes, card, max_tiles) if tiled else 1
    rendering = request.rendering(card, (None, None) if tiled else None)
    warnings: tuple[str, ...] = ()
    if not present:
        warnings = ("No mask has a category: every picture is of background, and no label comes of it.",)
    if request.goal is not None:
        _check_goal(request.goal, masks)
    spec = DatasetSpec(
        **rendering,
        name=request.name,
        licence=request.licence,
        mask_set_id=masks.id,
        masks=masks.masks,
        samples_per_mask=request.samples_per_mask,
        goal=request.goal,
        prompt=request.prompt,
        conditions=request.conditions,
        splits=request.splits,
        formats=tuple(dict.fromkeys(request.formats)),
        shard_images=max(1, shard_images // tiles),
        webhook=request.webhook,
    )
    if spec.samples > MAX_SAMPLES:
        message = f"{spec.masks} masks of {spec.samples_per_mask} samples are more than {MAX_SAMPLES}."
        raise InvalidInput(
            message, code="too_many_samples", errors=[FieldError("/samples_per_mask", message)]
        )
    return spec, (*warnings, *rarity_warnings(card, present))


def _check_tiles(
    request: DatasetRequest, sizes: Collection[tuple[int, int]], card: ModelCard, most: int
) -> int:
    """The tiles of the largest picture. Raises InvalidInput: wrong_size, too_many_tiles."""
    for width, height in sizes:
        own_size((request.width, request.height), width, height, because="size_policy=tile")
        check_tiles(card, width, height, pictures=1, most=most)
    return max((count_tiles(card, width, height) for width, height in sizes), default=1)


def wanted_of(goal: Goal) -> Mapping[int, int]:
    """Samples wanted of each category id. Raises UnknownCategory."""
    return {find_category(name).id: number for name, number in goal.accepted_per_category.items()}


def _check_goal(goal: Goal, masks: MaskSetRecord) -> None:
    """Raises InvalidInput where no mask can give what is wanted: nothing is generated for it."""
    offered = {found.id for found in masks.categories if found.labelled_masks}
    lacking = [CATEGORIES[category_id].name for category_id in _absent(wanted_of(goal), offered)]
    if lacking:
        has = (
            ", ".join(CATEGORIES[category_id].name for category_id in sorted(offered - {0, 255})) or "nothing"
        )
        raise InvalidInput(
            f"No mask of the set shows {', '.join(lacking)} on 1 % of its pixels; it shows {has}.",
            code="goal_unreachable",
            errors=[
                FieldError(f"/goal/accepted_per_category/{name}", "no mask of the set shows it")
                for name in lacking
            ],
        )


def _absent(wanted: Iterable[int], offered: set[int]) -> list[int]:
    return [category_id for category_id in wanted if category_id not in offered]
