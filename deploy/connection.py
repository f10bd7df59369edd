"""What every command that talks to a running service begins with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deploy.exit_codes import ended_in_words

if TYPE_CHECKING:
    from rich.console import Console

    from deploy.dataset_client import Service

LOCAL_URL = "http://127.0.0.1:8000"
_PLAIN_WIDTH = 120  # columns of tables where no terminal says its own


@contextmanager
def connected(url: str) -> Iterator[tuple[Service, Console]]:
    """The service, and the console for people; failures become lines and exit codes."""
    from rich.console import Console

    from deploy.dataset_client import Service

    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    with ended_in_words(), Service(url, say) as service:
        yield service, console
