"""The command line: `earthsynth up | serve | work | demo | keys … | models … | dataset … | calibrate |
training-set … | train | prepare | preview`.

Torch is imported by `work`, `calibrate` and `train --local` only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from deploy import train_cli, training_cli
from deploy.dataset_cli import dataset_app
from deploy.keys_cli import keys_app
from deploy.models_cli import models_app
from deploy.stack_error import StackError, StackStopped
from deploy.training_set_cli import training_set_app
from models.errors import EarthSynthError

_MOST_FAULTS = 20  # wrong files or fields that are listed

app = typer.Typer(
    name="earthsynth",
    help="Synthetic satellite pictures with exact labels, from semantic masks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(dataset_app, name="dataset")
app.add_typer(keys_app, name="keys")
app.add_typer(models_app, name="models")
app.add_typer(training_set_app, name="training-set")
app.command()(train_cli.train)
app.command()(training_cli.prepare)
app.command()(training_cli.preview)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"earthsynth {importlib.metadata.version('earthsynth-service')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before a command."""


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API on 127.0.0.1.")] = 8000,
    data: Annotated[Path, typer.Option(help="Folder for everything that is kept.")] = Path(".earthsynth"),
    workers: Annotated[int, typer.Option(min=0, max=16, help="Worker processes.")] = 1,
    trainers: Annotated[int, typer.Option(min=0, max=16, help="Processes for trainings.")] = 1,
    senders: Annotated[int, typer.Option(min=0, max=16, help="Processes that deliver webhooks.")] = 1,
) -> None:
    """Run the whole stack on this machine, in the foreground, until Ctrl-C."""
    from deploy import readiness
    from deploy.localstack import LocalStack
    from deploy.stop_signals import stop_on_signals
    from worker.settings import settings

    stack = LocalStack(
        data,
        port=port,
        workers=workers,
        trainers=trainers,
        senders=senders,
        worker_seconds=settings().load_seconds,
        report=_say,
    )
    stop_on_signals(stack)
    with stack:
        for worker in readiness.worker_states(stack.api_url):
            if worker["status"] == "failed":
                _say(f"worker {worker['name']} cannot work: {worker['reason']}")
        typer.echo(f"ready {stack.api_url}")
        _say(f"data and logs in {stack.data.path}; stop with Ctrl-C")
        stack.stop_requested.wait()
        _say("stopping; once more to kill")
    _say("stopped")


@app.command()
def serve(
    descriptor: Annotated[
        int | None, typer.Option("--socket", help="Descriptor of a socket that listens already.")
    ] = None,
) -> None:
    """Run the API alone; its settings are EARTHSYNTH_* variables."""
    from deploy.api_processes import common_metrics
    from worker.settings import settings

    with common_metrics(settings().api_processes):
        from deploy.api_server import run_api

        run_api(settings(), descriptor=descriptor)


@app.command()
def work(
    queue: Annotated[
        str | None,
        typer.Option(
            help="generation (pictures, data sets), training or webhook (deliveries, without torch); "
            "default: EARTHSYNTH_QUEUE."
        ),
    ] = None,
) -> None:
    """Run one worker: a supervisor and the process that works; settings are EARTHSYNTH_* variables."""
    if queue is not None:
        os.environ["EARTHSYNTH_QUEUE"] = queue  # read by the settings, here and in the child process
    from worker.main import main as work_until_stopped
    from worker.settings import settings

    if settings().queue != "webhook" and importlib.util.find_spec("torch") is None:
        raise StackError("a worker needs torch; run: pip install 'earthsynth-service[gpu]'")

    raise typer.Exit(work_until_stopped())


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder to write to; files of an earlier demo are replaced.")
    ] = Path("demo"),
    num_images: Annotated[int, typer.Option(min=1, max=16, help="Pictures to make.")] = 4,
) -> None:
    """Start a stack of its own, make pictures of one real mask through the API, write them down, stop."""
    from deploy.demo import run_demo

    run_demo(out, num_images)


@app.command()
def calibrate(
    data: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Real pairs: images/ and masks/ of class ids.")
    ],
    out: Annotated[Path, typer.Option(help="File to write, or a folder that exists.")] = Path(
        "calibration.json"
    ),
    segmenter: Annotated[
        str | None, typer.Option(help="Segmenter: hub id or folder; absent: nano's own.")
    ] = None,
    clip: Annotated[str | None, typer.Option(help="CLIP: hub id or folder; absent: none.")] = None,
    training: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="What the generator learned from, laid out alike."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Take pictures whose name begins so; may be repeated.")
    ] = None,
    size: Annotated[int, typer.Option(min=64, max=4096, help="Side of the pictures to come, pixels.")] = 256,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Measure R-Filter's thresholds on real pairs that the segmenter never saw, and write them to a file."""
    from deploy.calibrate import run_calibrate

    if importlib.util.find_spec("torch") is None:
        raise StackError("calibrating needs torch; run: pip install 'earthsynth-service[gpu]'")
    path = run_calibrate(
        data,
        out,
        segmenter=segmenter,
        clip=clip,
        training=training,
        only=tuple(only or ()),
        size=size,
        device=device,
        threads=threads,
    )
    typer.echo(path)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def main() -> None:
    """Run the command line. What can go wrong in use is one line on stderr and exit code 1."""
    try:
        app()
    except StackStopped:
        _say("stopped before it was done")
        sys.exit(1)
    except (StackError, EarthSynthError, OSError) as error:
        _say(f"error: {error}")
        faults = error.errors if isinstance(error, EarthSynthError) else ()
        for wrong in faults[:_MOST_FAULTS]:
            if wrong.message not in str(error):
                name = wrong.pointer.removeprefix("/").replace("~1", "/").replace("~0", "~")
                _say(f"  {name}: {wrong.message}")
        sys.exit(1)
    except ValidationError as error:  # settings are read here and nowhere else by this process
        for fault in error.errors():
            _say(f"error: EARTHSYNTH_{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}")
        sys.exit(1)


if __name__ == "__main__":
    main()
