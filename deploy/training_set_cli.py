"""`earthsynth training-set create | show`: what a running service is to train on.

Standard output of `create` is for shells: the set's id alone. What people read goes to standard error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy import dataset_options as options
from deploy.connection import LOCAL_URL, connected
from deploy.exit_codes import EXIT_CODES_HELP, wrong_usage

training_set_app = typer.Typer(
    help="Give a running service pairs of pictures and masks to train on, and look at what it has.",
    no_args_is_help=True,
    epilog=EXIT_CODES_HELP,
)


@training_set_app.command(epilog=EXIT_CODES_HELP)
def create(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER|FILE.zip]",
            exists=True,
            help="images/ and masks/ with files of the same names, and train.jsonl where there is one.",
        ),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(
            metavar="imports/…", help="Take objects that lie there; tar files as WebDataset shards."
        ),
    ] = None,
    encoding: options.Encoding = None,
    ontology: options.Ontology = None,
    label_map: options.LabelMap = None,
    category: options.Category = None,
    ignore: Annotated[
        bool, typer.Option("--ignore/--no-ignore", help="Value 255 means: no label here.")
    ] = True,
    max_bad_share: Annotated[
        float | None, typer.Option(help="Share of bad pairs above which there is no set; else 0.05.")
    ] = None,
    url: options.Url = LOCAL_URL,
) -> None:
    """Have every pair checked, and the good ones kept: id=$(earthsynth training-set create FOLDER)."""
    from deploy.training_set_request import keep_training_set, report_lines

    with connected(url) as (service, console):
        pairs = prefix if path is None else path
        if pairs is None or (path is not None and prefix is not None):
            raise wrong_usage("say a folder or a zip, or --prefix; one of them")
        given = {
            "encoding": encoding,
            "ontology": ontology,
            "label_map": label_map and label_map.read_text(encoding="utf-8"),
            "category": category,
            "ignore": None if ignore else False,
            "max_bad_share": max_bad_share,
        }
        reading = {name: value for name, value in given.items() if value is not None}
        kept = keep_training_set(service, console, pairs, reading)
        for line in report_lines(kept):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        typer.echo(kept["id"])


@training_set_app.command(epilog=EXIT_CODES_HELP)
def show(
    set_id: Annotated[str, typer.Argument(metavar="ID", help="The training set, tset_….")],
    url: options.Url = LOCAL_URL,
) -> None:
    """Print what a training set holds."""
    from deploy.training_set_request import report_lines

    with connected(url) as (service, _):
        for line in report_lines(service.get(f"/v1/training-sets/{set_id}")):
            typer.echo(line)
