"""Following a job from outside: a bar or plain lines while it runs, a table when a data set has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.dataset_client import Service
from deploy.exit_codes import ExitCode, Unsuccessful, problem_lines

ENDED = frozenset({"succeeded", "failed", "canceled"})
_FIRST_POLL_SECONDS, _SLOWEST_POLL_SECONDS = 0.2, 2.0
_LINE_SECONDS = 10.0  # between plain lines that only move on

Job = Mapping[str, Any]


def follow(service: Service, console: Console, job_id: str) -> Job:
    """The job once it has succeeded. Raises Unsuccessful: it failed, was canceled, or nobody wants to see more."""
    pause = _FIRST_POLL_SECONDS
    try:
        with _shown(console) as show:
            while (job := service.get(f"/v1/jobs/{job_id}"))["status"] not in ENDED:
                show(job)
                time.sleep(pause)
                pause = min(1.2 * pause, _SLOWEST_POLL_SECONDS)
            show(job)
    except KeyboardInterrupt:
        raise Unsuccessful(
            ExitCode.INTERRUPTED,
            f"stopped watching; {job_id} goes on. See it again: earthsynth dataset watch {job_id}",
            f"To cancel it: curl -X POST {service.url}/v1/jobs/{job_id}/cancel",
        ) from None
    if job["status"] == "canceled":
        counts, progress = job["counts"], job["progress"]
        if job["kind"] == "training":
            raise Unsuccessful(
                ExitCode.CANCELED,
                f"{job_id} was canceled after step {progress['done']} of {progress['total']}; its last checkpoint is "
                f"kept. To go on: the same command with --resume-from {job_id}",
            )
        raise Unsuccessful(
            ExitCode.CANCELED,
            f"{job_id} was canceled; {counts['accepted']} of {counts['requested']} samples were accepted before",
        )
    if job["status"] == "failed":
        raise Unsuccessful(ExitCode.REFUSED, *problem_lines(job["error"]))
    return job


def watch(service: Service, console: Console, job_id: str, *, strict: bool) -> None:
    """Follow any job to its end; of a data set, tell what it delivers.

    Raises Unsuccessful, as `follow` does, and INCOMPLETE where `strict` and samples are missing.
    """
    job = follow(service, console, job_id)
    if job["kind"] == "export":
        tell_export(service, console, job)
    elif job["kind"] == "dataset":
        tell_dataset(service, console, job_id, strict=strict)


def tell_dataset(service: Service, console: Console, dataset_id: str, *, strict: bool) -> None:
    """Table of categories, warnings, goal and exports. Raises Unsuccessful (INCOMPLETE) as `watch`."""
    found = service.get(f"/v1/datasets/{dataset_id}")
    selection = found["selection"]
    report, counts = selection["report"], selection["counts"]
    console.print(_table(report["categories"]))
    goal: Mapping[str, Any] = report["goal"] or {}
    unreached = [name for name, tally in goal.items() if not tally["reached"]]
    for name in unreached:
        _say(
            console,
            f"goal: {name}: {goal[name]['accepted']} of {goal[name]['wanted']}: {goal[name]['reason']}",
        )
    for warning in dict.fromkeys((*found["job"]["warnings"], *report["warnings"])):
        _say(console, f"warning: {warning}")
    for export in service.get(f"/v1/datasets/{dataset_id}/exports")["items"]:
        _say(console, f"export {export['format']}: {export['id']} {export['status']}")
    # With a goal the samples are means to it: the exhausted ones were replaced by others.
    missing = len(unreached) if goal else counts["exhausted"] + counts["failed"]
    words = f"{counts['accepted']} of {counts['requested']} samples accepted, {_missing(counts)}"
    if strict and missing:
        unmet = f"; the goal is not reached for {', '.join(unreached)}" if unreached else ""
        raise Unsuccessful(ExitCode.INCOMPLETE, f"{dataset_id} is incomplete: {words}{unmet}")
    _say(console, f"{dataset_id}: {words}")


def tell_export(service: Service, console: Console, job: Job) -> None:
    """One line about a finished export."""
    dataset_id = job["request"]["dataset_id"]
    export = service.get(f"/v1/datasets/{dataset_id}/exports/{job['id']}")
    worst = min(export["fidelity"].values(), default=None)
    _say(
        console,
        f"{export['format']}: {export['pictures']} pictures, {export['annotations']} annotations, "
        f"{decimal(export['archive']['bytes'])}"
        + ("" if worst is None else f", label fidelity at least {worst:.3f} IoU")
        + f"; fetch it: earthsynth dataset download {dataset_id} {job['id']} --out FOLDER",
    )


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[Job], None]]:
    """What shows a job: one bar that moves where the console is a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield _in_lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("…", total=None, text="")

        def show(job: Job) -> None:
            progress = job["progress"]
            bar.update(
                task,
                description=_stage(job),
                total=progress["total"],
                completed=progress["done"],
                text=_words(job),
            )

        yield show


def _in_lines(console: Console) -> Callable[[Job], None]:
    said, said_at = ("", ""), 0.0

    def show(job: Job) -> None:
        nonlocal said, said_at
        stage, words = _stage(job), _words(job)
        due = time.monotonic() - said_at >= _LINE_SECONDS
        if stage != said[0] or (words != said[1] and due):
            _say(console, f"{stage}: {words}")
            said, said_at = (stage, words), time.monotonic()

    return show


def _stage(job: Job) -> str:
    return str(job["phase"] or job["status"])


def _words(job: Job) -> str:
    progress, counts = job["progress"], job["counts"]
    words = f"{progress['done']}/{progress['total']}"
    if job["kind"] == "dataset":
        words += f", {counts['accepted']} accepted, {_missing(counts)}"
    if "loss_global" in progress.get("metrics", {}):  # a service before this release has none
        words += f", loss {progress['metrics']['loss_global']:.4f}"
    if progress["eta_seconds"] is not None:
        words += f", {progress['eta_seconds']:.0f} s left"
    return words


def _missing(counts: Mapping[str, int]) -> str:
    return f"{counts['exhausted']} exhausted, {counts['failed']} failed"


def _table(categories: Mapping[str, Any]) -> Table:
    table = Table(
        "category",
        "requested",
        "accepted",
        "acceptance",
        "failed by rule",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name, tally in categories.items():
        acceptance = tally["acceptance"]
        rules = ", ".join(f"{rule} {tries}" for rule, tries in tally["failed_by_rule"].items())
        table.add_row(
            name,
            str(tally["requested"]),
            str(tally["accepted"]),
            "n/a" if acceptance is None else f"{acceptance:.0%}",
            rules or "none",
        )
    return table


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
