"""What people see of a job, in a terminal and in a log, and what its end is worth to a script."""

from __future__ import annotations

import io
import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from rich.console import Console

from deploy.dataset_client import Service
from deploy.dataset_watch import watch
from deploy.exit_codes import ExitCode, Unsuccessful
from tests.deploy.web import reply, serving


def job(status: str, **changes: Any) -> dict[str, Any]:
    counts = {"requested": 8, "accepted": 5, "exhausted": 1, "failed": 0, "pending": 2}
    progress = {"done": 6, "total": 8, "eta_seconds": 12.4}
    known = {"id": "job_1", "kind": "dataset", "status": status, "phase": None, "error": None, "warnings": []}
    return known | {"counts": counts, "progress": progress} | changes


def dataset(goal: dict[str, Any] | None = None) -> dict[str, Any]:
    road = {"requested": 8, "accepted": 7, "acceptance": 0.875, "failed_by_rule": {"leakage": 1}}
    report = {"categories": {"road": road}, "goal": goal, "warnings": ["look at it"]}
    counts = {"requested": 8, "accepted": 7, "exhausted": 1, "failed": 0}
    return {
        "job": job("succeeded", warnings=["look at it"]),
        "selection": {"report": report, "counts": counts},
    }


def watched(
    *jobs: dict[str, Any], view: dict[str, Any] | None = None, strict: bool = False, terminal: bool = False
) -> tuple[str, Unsuccessful | None]:
    """What is written about these states of the job, one a poll, and how watching ended."""
    states = list(jobs)
    made = {"id": "job_2", "format": "coco", "status": "queued"}

    def answer(request: BaseHTTPRequestHandler) -> None:
        body: Any = states.pop(0) if request.path == "/v1/jobs/job_1" else view
        if request.path.endswith("/exports"):
            body = {"items": [made]}
        reply(request, 200, json.dumps(body).encode())

    console = Console(file=io.StringIO(), width=120, force_terminal=terminal)
    ended = None
    with serving(answer) as url, Service(url, lambda _: None) as service:
        try:
            watch(service, console, "job_1", strict=strict)
        except Unsuccessful as error:
            ended = error
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue(), ended


def test_a_log_gets_a_line_for_each_phase_and_a_table() -> None:
    running = job("running", phase="synthesis")
    said, ended = watched(job("queued"), running, running, job("succeeded"), view=dataset())
    assert ended is None
    assert said.splitlines() == [
        "queued: 6/8, 5 accepted, 1 exhausted, 0 failed, 12 s left",
        "synthesis: 6/8, 5 accepted, 1 exhausted, 0 failed, 12 s left",
        "succeeded: 6/8, 5 accepted, 1 exhausted, 0 failed, 12 s left",
        "category  requested  accepted  acceptance  failed by rule",
        "road      8          7         88%         leakage 1     ",
        "warning: look at it",
        "export coco: job_2 queued",
        "job_1: 7 of 8 samples accepted, 1 exhausted, 0 failed",
    ]


def test_a_terminal_gets_a_bar() -> None:
    said, ended = watched(job("running", phase="filter"), job("succeeded"), view=dataset(), terminal=True)
    assert ended is None
    assert "━" in said
    assert "6/8, 5 accepted, 1 exhausted, 0 failed, 12 s left" in said


@pytest.mark.parametrize(
    ("goal", "code"),
    [
        (None, ExitCode.INCOMPLETE),
        ({"road": {"wanted": 7, "accepted": 7, "reached": True, "reason": None}}, None),
        (
            {"road": {"wanted": 9, "accepted": 7, "reached": False, "reason": "max_tries"}},
            ExitCode.INCOMPLETE,
        ),
    ],
)
def test_with_a_goal_strict_asks_for_the_goal_alone(
    goal: dict[str, Any] | None, code: ExitCode | None
) -> None:
    said, ended = watched(job("succeeded"), view=dataset(goal), strict=True)
    assert (ended and ended.exit_code) == code
    assert ("goal: road: 7 of 9: max_tries\n" in said) == bool(goal and not goal["road"]["reached"])


@pytest.mark.parametrize(
    ("status", "error", "code", "line"),
    [
        ("canceled", None, ExitCode.CANCELED, "job_1 was canceled; 5 of 8 samples were accepted before"),
        (
            "failed",
            {"detail": "The worker died.", "code": "worker_lost"},
            ExitCode.REFUSED,
            "error: The worker died. [worker_lost]",
        ),
    ],
)
def test_other_ends(status: str, error: dict[str, Any] | None, code: ExitCode, line: str) -> None:
    _, ended = watched(job(status, error=error))
    assert ended is not None
    assert (ended.exit_code, ended.lines) == (code, (line,))
