"""How a client command ends: the exit codes that scripts may rely on, and what carries them there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import typer
from pydantic import ValidationError


class ExitCode(IntEnum):
    DONE = 0  # what was asked is done
    REFUSED = 1  # the service refused it, or the job failed; stderr says why, and the error's code
    USAGE = 2  # the command line itself is wrong, and nothing was sent; typer's own code
    CANCELED = 3  # the job was canceled
    INCOMPLETE = 4  # with --strict: the job ended, but samples are missing or its goal is not reached
    UNREACHABLE = 5  # nobody answered, or only 502, 503 or 504, for as long as it was tried
    INTERRUPTED = 130  # Ctrl-C; a job that was accepted goes on


EXIT_CODES_HELP = (
    "Exit codes: 0 done · 1 refused or failed · 2 wrong usage, nothing was sent · 3 the job was canceled · "
    "4 with --strict: samples are missing or the goal is not reached · 5 the service is not reachable · "
    "130 Ctrl-C: the job goes on."
)


class Unsuccessful(Exception):
    """The command ends here: `lines` are for stderr."""

    def __init__(self, exit_code: ExitCode, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.exit_code, self.lines = exit_code, lines


def wrong_usage(sentence: str) -> Unsuccessful:
    return Unsuccessful(ExitCode.USAGE, f"error: {sentence}")


def invalid(first: str, error: ValidationError) -> Unsuccessful:
    """Fields that break their rules: a sentence, and a line for each."""
    lines = [f"  /{'/'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return Unsuccessful(ExitCode.USAGE, f"error: {first}:", *lines)


def problem_lines(problem: Mapping[str, Any]) -> tuple[str, ...]:
    """What people read of a problem document: its sentence and code, then each wrong field not named there."""
    code, detail = problem.get("code"), problem.get("detail") or problem.get("title")
    if code == "internal_error" and problem.get("request_id"):
        code = f"{code}, request_id {problem['request_id']}"
    fields = [f"{field['pointer']}: {field['message']}" for field in problem.get("errors") or ()]
    return (f"error: {detail} [{code}]", *(f"  {field}" for field in fields if field != detail))


def read_json_object(text: str, what: str) -> dict[str, Any]:
    """The object in a JSON text that the user wrote. Raises Unsuccessful (USAGE)."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise wrong_usage(f"{what} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise wrong_usage(f"{what} must hold a JSON object")
    return found


@contextmanager
def ended_in_words() -> Iterator[None]:
    """Turns the end of a command into lines on stderr and its exit code."""
    try:
        yield
    except Unsuccessful as end:
        for line in end.lines:
            typer.echo(line, err=True)
        raise typer.Exit(end.exit_code) from end
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
