"""`earthsynth dataset create | watch | export | download`: data sets of a service that may run anywhere.

Standard output is for shells: ids and paths alone. What people read goes to standard error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy import dataset_options as options
from deploy.connection import LOCAL_URL, connected
from deploy.exit_codes import EXIT_CODES_HELP, read_json_object, wrong_usage
from models.export.options import ExportFormat

dataset_app = typer.Typer(
    help="Make data sets with a running service, watch them, export and download them.",
    no_args_is_help=True,
    epilog=EXIT_CODES_HELP,
)

DatasetId = Annotated[str, typer.Argument(metavar="ID", help="The data set, job_….")]


@dataset_app.command(epilog=EXIT_CODES_HELP)
def create(
    masks: options.Masks = None,
    encoding: options.Encoding = None,
    ontology: options.Ontology = None,
    label_map: options.LabelMap = None,
    category: options.Category = None,
    ignore: options.Ignore = False,
    tile_size: options.TileSize = None,
    partial: options.Partial = False,
    samples_per_mask: options.SamplesPerMask = None,
    goal: options.GoalPairs = None,
    max_tries: options.MaxTries = None,
    max_seconds: options.MaxSeconds = None,
    flip: options.Flip = None,
    rotate90: options.Rotate90 = None,
    translate: options.Translate = None,
    scale: options.Scale = None,
    single_category: options.SingleCategory = None,
    extra_category: options.ExtraCategory = None,
    name: options.Name = None,
    policy: options.Policy = None,
    seed: options.Seed = None,
    model: options.Model = None,
    formats: options.Formats = None,
    spec: options.Spec = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay until the data set has ended.")] = False,
    strict: options.Strict = False,
    url: options.Url = LOCAL_URL,
) -> None:
    """Ask for a data set. Its id is all that is printed to stdout: id=$(earthsynth dataset create …)."""
    from deploy.dataset_request import dataset_body, mask_set_of, named_numbers
    from deploy.dataset_watch import watch as follow

    with connected(url) as (service, console):
        wanted = named_numbers(goal or (), int, "--goal") or None
        if samples_per_mask is not None and (wanted, max_tries, max_seconds) != (None, None, None):
            raise wrong_usage("--samples-per-mask, or --goal with --max-tries and --max-seconds; not both")
        reading = _given(
            encoding=encoding,
            ontology=ontology,
            category=category,
            label_map=label_map and label_map.read_text(encoding="utf-8"),
            ignore=ignore or None,
            tile_size=tile_size,
            partial=partial or None,
        )
        body = dataset_body(
            read_json_object(spec.read_text(encoding="utf-8"), f"--spec {spec}") if spec else {},
            _given(
                name=name,
                seed=seed,
                model=model,
                samples_per_mask=samples_per_mask,
                goal=_given(accepted_per_category=wanted, max_tries=max_tries, max_seconds=max_seconds),
                filter=_given(policy=policy),
                conditions=_given(
                    flip=flip,
                    rotate90=rotate90,
                    translate=translate,
                    scale=scale,
                    single_category=single_category,
                    extra_category_probability=extra_category,
                ),
                formats=formats,
            ),
            masks_follow=masks is not None,
        )
        if masks is not None:
            body["masks"] = {"mask_set_id": mask_set_of(service, console, masks, reading)}
        dataset_id = service.post("/v1/datasets", body)["id"]
        typer.echo(dataset_id)
        if watch:
            follow(service, console, dataset_id, strict=strict)


@dataset_app.command(epilog=EXIT_CODES_HELP)
def watch(dataset_id: DatasetId, strict: options.Strict = False, url: options.Url = LOCAL_URL) -> None:
    """Follow a data set (or an export) to its end. Ctrl-C stops watching, not the job."""
    from deploy.dataset_watch import watch as follow

    with connected(url) as (service, console):
        follow(service, console, dataset_id, strict=strict)


@dataset_app.command(epilog=EXIT_CODES_HELP)
def export(
    dataset_id: DatasetId,
    formats: Annotated[
        list[ExportFormat], typer.Option("--format", help="Format to export in; may be repeated.")
    ],
    include_stuff: Annotated[
        bool, typer.Option("--include-stuff", help="Annotate land cover and buildings too.")
    ] = False,
    min_area: Annotated[
        int | None, typer.Option(help="Components of fewer pixels get no annotation.")
    ] = None,
    all_classes: Annotated[
        bool, typer.Option("--all-classes", help="List every category, so that class numbers never move.")
    ] = False,
    shard_samples: Annotated[int | None, typer.Option(help="Samples in one WebDataset shard.")] = None,
    splits: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="NAME=SHARE", help="As train=0.8; may be repeated."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch/--no-wait", help="Stay until it is ready.")] = True,
    url: options.Url = LOCAL_URL,
) -> None:
    """Export what the data set delivers now; prints the id of each export."""
    from deploy.dataset_request import named_numbers
    from deploy.dataset_watch import watch as follow

    with connected(url) as (service, console):
        given = _given(
            include_stuff=include_stuff or None,
            min_area=min_area,
            all_classes=all_classes or None,
            shard_samples=shard_samples,
            splits=named_numbers(splits or (), float, "--split") or None,
        )
        ids = []
        for wanted in dict.fromkeys(formats):
            job = service.post(f"/v1/datasets/{dataset_id}/exports", given | {"format": wanted})
            typer.echo(job["id"])
            ids.append(job["id"])
        for export_id in ids if watch else ():
            follow(service, console, export_id, strict=False)


@dataset_app.command(epilog=EXIT_CODES_HELP)
def download(
    dataset_id: DatasetId,
    export_id: Annotated[
        str | None, typer.Argument(metavar="EXPORT_ID", help="The export; or say --format.")
    ] = None,
    newest: Annotated[
        ExportFormat | None, typer.Option("--format", help="The newest export in this format.")
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder to write to.")] = Path(),
    extract: Annotated[bool, typer.Option("--extract", help="Unpack it beside the archive.")] = False,
    url: options.Url = LOCAL_URL,
) -> None:
    """Fetch an export's archive, from where an earlier download broke off; prints its path, or the folder's."""
    from deploy.dataset_client import in_words
    from deploy.dataset_export import archive_of, export_of, newest_of
    from deploy.downloads import download as fetch
    from earthsynth.unpacking import unpack

    with connected(url) as (service, console):
        if (export_id is None) == (newest is None):
            raise wrong_usage("say the export's id, or --format; one of them")
        chosen = newest_of(service, dataset_id, newest) if newest else str(export_id)
        found = export_of(service, console, dataset_id, chosen)
        path = out / f"{found['format']}-{found['id']}.zip"
        new = fetch(lambda: archive_of(service, dataset_id, chosen), path, console)
        typer.echo(f"{path} is {'complete' if new else 'there already'}", err=True)
        if extract:
            with in_words():
                unpack(path, path.with_suffix(""))
        typer.echo(path.with_suffix("") if extract else path)


def _given(**values: object) -> dict[str, object]:
    """What was said on the command line: neither None nor an object without fields."""
    return {name: value for name, value in values.items() if value is not None and value != {}}
