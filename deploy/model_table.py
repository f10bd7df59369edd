"""The tables that `earthsynth models` and `earthsynth models list` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from models.catalog import NANO_CHECKPOINT, RELEASED, catalog
from models.model_card import ModelCard
from worker.settings import settings


def print_models() -> None:
    """Print every model of this release; offered are those that EARTHSYNTH_MODELS names."""
    offered = set(settings().model_names)
    cards = catalog(RELEASED, settings().earthsynth_base, settings().earthsynth_controlnet)
    table = _table("model", "offered", "size", "categories", "sha256", "weights")
    for card in cards.values():
        table.add_row(
            f"{card.name}@{card.version}",
            "default" if card.name == settings().default_model else "yes" if card.name in offered else "no",
            f"{card.native_width} x {card.native_height}",
            _shortened(card.category_names),
            card.digest[:16] if card.digest else "reported when loaded",
            _weights(card),
        )
    _print(table)


def print_service_models(items: Sequence[Mapping[str, Any]]) -> None:
    """Print what GET /v1/models answers; `means`: what a name alone, and a request without a model, means."""
    table = _table("model", "means", "created", "base", "size", "categories", "sha256")
    for item in items:
        means = [item["name"]] if item["current"] else []
        means += ["default"] if item["default"] else []
        table.add_row(
            f"{item['name']}@{item['version']}",
            ", ".join(means),
            (item["created_at"] or "")[:16].replace("T", " "),
            item["base"] or "shipped",
            f"{item['width']} x {item['height']}",
            _shortened(item["categories"]),
            item["sha256"][:16] if item["sha256"] else "reported when loaded",
        )
    _print(table)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _print(table: Table) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width; a narrow default would fold every cell
        console = Console(highlight=False, width=200)
    console.print(table)


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{len(names)}: {', '.join(names[:6])}, …"


def _weights(card: ModelCard) -> str:
    if card.base == str(NANO_CHECKPOINT):
        return "in this package"
    return f"{card.controlnet} ({card.controlnet_subfolder}) on {card.base}"
