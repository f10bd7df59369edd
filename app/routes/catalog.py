"""What masks may hold: categories and ontologies."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from app.auth import Reads
from app.openapi import refusals
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


@router.get("/categories", response_model=CategoryList, responses=refusals(503))
def list_categories(_: Reads) -> CategoryList:
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


@router.get("/ontologies", response_model=OntologyList, responses=refusals(503))
def list_ontologies(_: Reads) -> OntologyList:
    """The label sets that masks may be written in."""
    return OntologyList(items=[_ontology_view(ontology) for ontology in ONTOLOGIES.values()])


def _ontology_view(ontology: Ontology) -> OntologyView:
    return OntologyView(
        name=ontology.name,
        title=ontology.title,
        source=ontology.source,
        ids=dict(ontology.id_map),
        names=dict(ontology.name_map),
        colors={_hex(color): category_id for color, category_id in ontology.color_map.items()},
    )


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
