"""The table that `earthsynth models` prints."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from models.catalog import NANO_CHECKPOINT, ModelCard, catalog
from worker.settings import settings

RELEASED = ("nano", "earthsynth")


def print_models() -> None:
    """Print every model of this release; offered are those that EARTHSYNTH_MODELS names."""
    offered = set(settings().model_names)
    cards = catalog(RELEASED, settings().earthsynth_base, settings().earthsynth_controlnet)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "offered", "size", "categories", "sha256", "weights"):
        table.add_column(heading, overflow="fold")
    for card in cards.values():
        table.add_row(
            f"{card.name}@{card.version}",
            "default" if card.name == settings().default_model else "yes" if card.name in offered else "no",
            f"{card.native_width} x {card.native_height}",
            _categories(card),
            card.digest[:16] if card.digest else "reported when loaded",
            _weights(card),
        )
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width; a narrow default would fold every cell
        console = Console(highlight=False, width=200)
    console.print(table)


def _categories(card: ModelCard) -> str:
    names = card.category_names
    return ", ".join(names) if len(names) <= 12 else f"{len(names)}: {', '.join(names[:6])}, …"


def _weights(card: ModelCard) -> str:
    if card.base == str(NANO_CHECKPOINT):
        return "in this package"
    return f"{card.controlnet} ({card.controlnet_subfolder}) on {card.base}"
