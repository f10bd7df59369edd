"""The options of `earthsynth dataset create`, as Typer reads them; None is: not said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.export.options import ExportFormat

_MASKS, _MEASURE, _CONDITIONS = "Masks", "How many", "Conditions"

Url = Annotated[str, typer.Option(envvar="EARTHSYNTH_URL", help="Where the service is.")]
Formats = Annotated[
    list[ExportFormat] | None, typer.Option("--format", help="Format to export in; may be repeated.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit 4 when samples are missing or the goal is not reached.")
]

Masks = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.zip|FOLDER|mset_…|prefix:imports/…",
        help="Masks to upload or to import, or a set that the service has; absent: masks of --spec.",
        rich_help_panel=_MASKS,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        metavar="auto|class_id|palette|color|binary",
        help="What a pixel's value is.",
        rich_help_panel=_MASKS,
    ),
]
Ontology = Annotated[
    str | None, typer.Option(help="Whose ids or colours: see /v1/ontologies.", rich_help_panel=_MASKS)
]
LabelMap = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE.json",
        help="Colour #rrggbb or id → category.",
        rich_help_panel=_MASKS,
    ),
]
Category = Annotated[
    str | None, typer.Option(help="What the non-zero value of a binary mask is.", rich_help_panel=_MASKS)
]
Ignore = Annotated[
    bool, typer.Option("--ignore", help="Value 255 means: no label here.", rich_help_panel=_MASKS)
]
TileSize = Annotated[
    int | None, typer.Option(help="Cut larger masks into tiles of this side, pixels.", rich_help_panel=_MASKS)
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Leave out the files that cannot be used.", rich_help_panel=_MASKS)
]

SamplesPerMask = Annotated[
    int | None, typer.Option(help="Samples of each mask; this or --goal.", rich_help_panel=_MEASURE)
]
GoalPairs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CATEGORY=N",
        help='Accepted samples wanted of a category, as "storage tank=200"; may be repeated.',
        rich_help_panel=_MEASURE,
    ),
]
MaxTries = Annotated[
    int | None, typer.Option(help="With a goal: pictures made in all.", rich_help_panel=_MEASURE)
]
MaxSeconds = Annotated[
    float | None, typer.Option(help="With a goal: time after which it stops.", rich_help_panel=_MEASURE)
]

Flip = Annotated[
    bool | None, typer.Option("--flip/--no-flip", help="Mirror masks.", rich_help_panel=_CONDITIONS)
]
Rotate90 = Annotated[
    bool | None,
    typer.Option("--rotate90/--no-rotate90", help="Turn masks by quarters.", rich_help_panel=_CONDITIONS),
]
Translate = Annotated[
    float | None, typer.Option(help="Largest shift, as share of the side.", rich_help_panel=_CONDITIONS)
]
Scale = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="MIN MAX", help="Smallest and largest scale.", rich_help_panel=_CONDITIONS),
]
SingleCategory = Annotated[
    float | None,
    typer.Option(help="Probability that only one category is kept.", rich_help_panel=_CONDITIONS),
]
ExtraCategory = Annotated[
    float | None,
    typer.Option(help="Probability of one more category in the prompt.", rich_help_panel=_CONDITIONS),
]

Name = Annotated[str | None, typer.Option(help="For the data set's card and report.")]
Policy = Annotated[str | None, typer.Option(metavar="off|balanced|strict", help="How R-Filter judges.")]
Seed = Annotated[int | None, typer.Option(help="Same request, seed and model: same data set.")]
Model = Annotated[str | None, typer.Option(help="Name or name@version: see /v1/models.")]
Spec = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE.json",
        help="The body of POST /v1/datasets, for everything else; options win over it.",
    ),
]
