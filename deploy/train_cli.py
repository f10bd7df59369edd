"""`earthsynth train`: a CF-Comp training as a job of a running service, or here in the foreground."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy import dataset_options as options
from deploy.connection import LOCAL_URL, connected
from deploy.exit_codes import EXIT_CODES_HELP, ended_in_words, read_json_object, wrong_usage
from deploy.stack_error import StackError


def train(
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|ZIP|tset_…",
            help="images/ and masks/ with files of the same names, or a training set that the service has; "
            "with --local also a folder of WebDataset shards (*.tar).",
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the model: lower-case letters, digits, hyphens.")],
    base: Annotated[
        str | None,
        typer.Option(help="Model to train on; with --local nano, earthsynth, or the folder of a model."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Train here, without a service.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="With --local: checkpoints, validations and the model; default: NAME."),
    ] = None,
    encoding: options.Encoding = None,
    ontology: options.Ontology = None,
    label_map: options.LabelMap = None,
    max_bad_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of bad pairs above which nothing starts; else 0.05."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="JSON file with any field of POST /v1/trainings; options go before it.",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Side of the samples, pixels.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples of a step, over all processes.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Parts into which a batch is cut.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Largest learning rate.")] = None,
    trained: Annotated[str | None, typer.Option(help="controlnet, unet or lora.")] = None,
    mixed_precision: Annotated[str | None, typer.Option(help="auto, no, fp16 or bf16.")] = None,
    probability: Annotated[
        float | None, typer.Option(help="That a matched pair is composed (CF-Comp's p).")
    ] = None,
    local_loss_weight: Annotated[float | None, typer.Option(help="Of the objects' loss (lambda).")] = None,
    min_snr_gamma: Annotated[float | None, typer.Option(help="Min-SNR weighting.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    validate_every: Annotated[int | None, typer.Option(help="Steps between validations.")] = None,
    seed: options.Seed = None,
    new_version: Annotated[
        bool, typer.Option("--new-version", help="Add a version to a name that has some.")
    ] = False,
    resume_from: Annotated[
        str | None, typer.Option(metavar="job_…", help="Begin with the last checkpoint of this training.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and go.")] = False,
    device: Annotated[str, typer.Option(help="With --local: auto, cuda or cpu.")] = "auto",
    url: options.Url = LOCAL_URL,
) -> None:
    """Train a ControlNet with counterfactual compositions; print name@version, or with --local the model's folder.

    With --local it also runs on several GPUs or machines: accelerate launch --multi_gpu -m deploy.cli train …
    Machines must share the disk that --out is on, since all of them go on from its checkpoints.
    """
    given: dict[str, Any] = {
        "steps": steps,
        "resolution": resolution,
        "batch_size": batch_size,
        "gradient_accumulation_steps": accumulate,
        "learning_rate": learning_rate,
        "trained": trained,
        "mixed_precision": mixed_precision,
        "local_loss_weight": local_loss_weight,
        "min_snr_gamma": min_snr_gamma,
        "checkpoint_every": checkpoint_every,
        "seed": seed,
    }
    asked: dict[str, Any] = {}
    if recipe is not None:
        asked = dict(read_json_object(recipe.read_text(encoding="utf-8"), f"--recipe {recipe}"))
    asked |= {field: value for field, value in given.items() if value is not None}
    if probability is not None:
        asked["cf_comp"] = {**asked.get("cf_comp", {}), "probability": probability}
    if validate_every is not None:
        asked["validation"] = {**asked.get("validation", {}), "every": validate_every}
    given = {
        "encoding": encoding,
        "ontology": ontology,
        "label_map": label_map and label_map.read_text(encoding="utf-8"),
        "max_bad_share": max_bad_share,
    }
    reading = {field: value for field, value in given.items() if value is not None}
    if local:
        with ended_in_words():
            if new_version or resume_from or detach:
                raise wrong_usage(
                    "--new-version, --resume-from and --detach are for a service; --local goes on by itself"
                )
            if importlib.util.find_spec("torch") is None:
                raise StackError("training here needs torch; run: pip install 'earthsynth-service[gpu]'")
            if not Path(data).is_dir():
                raise wrong_usage(f"--data {data}: with --local it must be a folder")
            from deploy.train_local import run_training

            folder = run_training(
                Path(data),
                asked,
                reading,
                base=base or "nano",
                name=name,
                out=out or Path(name),
                device=device,
            )
        if folder is not None:  # of several processes the main one tells
            typer.echo(folder)
        return
    from deploy.train_request import submit, tell_training

    asked |= {"name": name, "base_model": base, "new_version": new_version, "resume_from": resume_from}
    with connected(url) as (service, console):
        body = {field: value for field, value in asked.items() if value is not None}
        job = submit(service, console, data, body, reading)
        if detach:
            typer.echo(job["id"])
            return
        typer.echo(tell_training(service, console, job["id"]))


train.__doc__ = f"{train.__doc__}\n\n{EXIT_CODES_HELP}"
