"""A reader of strangers' bytes in a process of its own, which can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class ChildFailed(Exception):
    """The child died or was too slow: `reason` goes on where "it" or "the picture" stands."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_in_child(program: Path, data: bytes, *limits: float, seconds: float) -> tuple[dict[str, Any], bytes]:
    """What the program says of the data it is given: a line of JSON, and the bytes after it.

    Its arguments are the limits, and then the seconds after which it is killed. Raises ChildFailed.
    """
    command = [sys.executable, "-I", "-B", str(program), *map(str, (*limits, seconds))]
    try:
        # No environment: the child reads strangers' bytes. One thread, as each would reserve address space.
        done = subprocess.run(
            command,
            input=data,
            capture_output=True,
            timeout=seconds,
            check=False,
            env={"OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise ChildFailed(f"could not be read within {seconds:g} seconds") from error
    head, _, body = done.stdout.partition(b"\n")
    if done.returncode != 0 or not head:
        raise ChildFailed("could not be read within the limits of memory and time")
    return json.loads(head), body
