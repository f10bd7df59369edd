"""An export's archive as a file, with a bar: the client fetches it, and continues where a connection broke."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.dataset_client import in_words
from deploy.patience import PATIENCE_SECONDS, Patience
from earthsynth.downloads import RemoteFile, fetch_file


def download(
    find: Callable[[], RemoteFile],
    path: Path,
    console: Console,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> bool:
    """Fetch the file to `path`; False when it was there already, whole.

    `find` names the file with a fresh URL, and is asked again when the URL has run out. Until the sha256 is right the
    bytes lie in `{path}.part`, from where a later call goes on. The server may be away for `patience_seconds`.

    Raises:
        Unsuccessful: REFUSED: the bytes are not those named, or another process fetches the same; UNREACHABLE.
    """
    patience = Patience(patience_seconds, lambda line: _say(console, line))
    with in_words(), _bar(console, path.name) as moved:
        return fetch_file(find, path, progress=moved, retry_policy=patience)


@contextmanager
def _bar(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """What shows how many bytes are there of how many: a bar on a terminal, else a line when it begins."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("downloading", total=None)
        begun = False

        def moved(done: int, total: int) -> None:
            nonlocal begun
            if not begun and not console.is_terminal:
                _say(console, f"downloading {name}, {decimal(total)}")
            begun = True
            bar.update(task, completed=done, total=total)

        yield moved


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
