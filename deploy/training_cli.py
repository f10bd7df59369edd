"""`earthsynth prepare | preview`: a training set made ready, and looked at, before a trainer runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.categories import ONTOLOGIES

_MOST_LISTED = 20

Folder = Annotated[
    Path,
    typer.Argument(exists=True, file_okay=False, help="Folder with images/ and masks/ of the same names."),
]


def prepare(
    folder: Folder,
    encoding: Annotated[
        str, typer.Option(help="How masks are to be read: auto, class_id, palette or color.")
    ] = "auto",
    ontology: Annotated[
        str, typer.Option(help=f"Whose ids or colours: {', '.join(ONTOLOGIES)}.")
    ] = "earthsynth",
    max_bad_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of bad pairs above which nothing is written.")
    ] = 0.05,
) -> None:
    """Write EarthSynth's train.jsonl and single-category masks into a training set; a second run changes nothing."""
    from deploy.prepare import run_prepare

    report = run_prepare(folder, encoding=encoding, ontology=ontology, max_bad_share=max_bad_share)
    for bad in report.refused[:_MOST_LISTED]:
        typer.echo(f"left out {bad.name}: {bad.message} [{bad.code}]", err=True)
    if len(report.refused) > _MOST_LISTED:
        typer.echo(f"and {len(report.refused) - _MOST_LISTED} more", err=True)
    for found in report.categories:
        typer.echo(f"{found.name}: in {found.pairs} of {len(report.pairs)} pairs", err=True)
    typer.echo(folder / "train.jsonl")


def preview(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("preview.png"),
    size: Annotated[int, typer.Option(min=16, max=2048, help="Side of the samples, pixels.")] = 256,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="That of the training to come.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=24, help="Pairs to show.")] = 8,
    batch_size: Annotated[
        int, typer.Option(min=2, max=256, help="Samples among which partners are found.")
    ] = 16,
    cross_class: Annotated[
        bool, typer.Option("--cross-class", help="Also match samples of which only one has the category.")
    ] = False,
    max_overlap: Annotated[
        float, typer.Option(min=0, max=1, help="Of the objects, as share of the smaller.")
    ] = 0.3,
) -> None:
    """Draw what counterfactual composition would make of a training set, before any GPU time is spent."""
    from deploy.preview import run_preview
    from models.cfcomp.options import CfCompOptions

    options = CfCompOptions(probability=1, cross_class=cross_class, max_overlap=max_overlap)
    shown = run_preview(
        folder, out, size=size, seed=seed, count=count, batch_size=batch_size, options=options
    )
    typer.echo(f"{shown} pairs", err=True)
    typer.echo(out)
