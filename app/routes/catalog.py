"""What the service knows: categories, ontologies, models."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from app.dependencies import Resources
from app.openapi import refusals
from models.catalog import ModelCard, find_model
from models.categories import CATEGORIES, ONTOLOGIES, Ontology

router = APIRouter(prefix="/v1", tags=["catalogue"])


class CategoryView(BaseModel):
    """`id` is the grey value in a mask. Stuff (is_thing false) gets no boxes."""

    id: int
    name: str
    aliases: list[str]
    color: str
    is_thing: bool


class CategoryList(BaseModel):
    items: list[CategoryView]
    next_cursor: str | None = None


class OntologyView(BaseModel):
    """How another label set's ids, names and colours map to category ids."""

    name: str
    title: str
    source: str
    ids: dict[int, int]
    names: dict[str, int]
    colors: dict[str, int]


class OntologyList(BaseModel):
    items: list[OntologyView]
    next_cursor: str | None = None


class DefaultsView(BaseModel):
    num_inference_steps: int
    guidance_scale: float
    controlnet_conditioning_scale: float
    scheduler: str
    negative_prompt: str


class ModelView(BaseModel):
    """`sha256` is the digest over all weight files; null where the weights carry no pin."""

    name: str
    version: str
    title: str
    licence: str
    sha256: str | None
    default: bool
    categories: list[str]
    width: int
    height: int
    max_side: int
    size_multiple: int
    defaults: DefaultsView


class ModelList(BaseModel):
    items: list[ModelView]
    next_cursor: str | None = None


@router.get("/categories", response_model=CategoryList)
def list_categories() -> CategoryList:
    """EarthSynth's categories, by id."""
    return CategoryList(
        items=[
            CategoryView(
                id=category.id,
                name=category.name,
                aliases=list(category.aliases),
                color=_hex(category.color),
                is_thing=category.is_thing,
            )
            for category in CATEGORIES
        ]
    )


@router.get("/ontologies", response_model=OntologyList)
def list_ontologies() -> OntologyList:
    """The label sets that masks may be written in."""
    return OntologyList(items=[_ontology_view(ontology) for ontology in ONTOLOGIES.values()])


@router.get("/models", response_model=ModelList)
def list_models(found: Resources) -> ModelList:
    """The models this service offers."""
    return ModelList(
        items=[_model_view(card, found.settings.default_model) for card in found.catalog.values()]
    )


@router.get("/models/{name}", response_model=ModelView, responses=refusals(422))
def get_model(name: str, found: Resources) -> ModelView:
    """One model, by `name` or `name@version`."""
    return _model_view(find_model(found.catalog, name), found.settings.default_model)


def _ontology_view(ontology: Ontology) -> OntologyView:
    return OntologyView(
        name=ontology.name,
        title=ontology.title,
        source=ontology.source,
        ids=dict(ontology.id_map),
        names=dict(ontology.name_map),
        colors={_hex(color): category_id for color, category_id in ontology.color_map.items()},
    )


def _model_view(card: ModelCard, default: str) -> ModelView:
    return ModelView(
        name=card.name,
        version=card.version,
        title=card.title,
        licence=card.licence,
        sha256=card.digest,
        default=default in (card.name, f"{card.name}@{card.version}"),
        categories=list(card.category_names),
        width=card.native_width,
        height=card.native_height,
        max_side=card.max_side,
        size_multiple=card.size_multiple,
        defaults=DefaultsView(
            num_inference_steps=card.defaults.num_inference_steps,
            guidance_scale=card.defaults.guidance_scale,
            controlnet_conditioning_scale=card.defaults.controlnet_conditioning_scale,
            scheduler=card.defaults.scheduler.value,
            negative_prompt=card.defaults.negative_prompt,
        ),
    )


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
