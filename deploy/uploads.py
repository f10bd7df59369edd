"""Files on their way to the service: a folder as a zip, a bar while it goes, and what is checked before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.exit_codes import invalid, wrong_usage
from earthsynth import RequestError
from earthsynth.archives import zip_folder


@contextmanager
def as_zip(
    path: Path, console: Console, option: str, wanted: Callable[[Path], bool] = lambda _: True
) -> Iterator[BinaryIO]:
    """The zip itself, or the folder as one, in a temporary file without a name.

    `wanted`: which files of the folder. Raises Unsuccessful (USAGE) about the `option` that named the folder.
    """
    if path.is_file():
        with path.open("rb") as archive:
            yield archive
        return
    with tempfile.TemporaryFile(prefix="earthsynth-upload-") as spool:
        try:
            files = zip_folder(path, spool, wanted)
        except RequestError as error:
            raise wrong_usage(f"{option}: {error}") from error
        if not files:
            raise wrong_usage(f"{option} {path}: there is no file in this folder")
        console.print(f"packed {files} files of {path}", markup=False, highlight=False, soft_wrap=True)
        spool.seek(0)
        yield cast(BinaryIO, spool)


@contextmanager
def upload_bar(console: Console, name: str, archive: BinaryIO) -> Iterator[BinaryIO]:
    """The file, which moves a bar while it is read."""
    size = archive.seek(0, 2)
    archive.seek(0)
    if not console.is_terminal:
        console.print(f"uploading {name}, {decimal(size)}", markup=False, highlight=False, soft_wrap=True)
        yield archive
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        yield bar.wrap_file(archive, total=size, description=f"uploading {name}")


def check_body(kind: type[BaseModel], body: Mapping[str, Any]) -> None:
    """Raises Unsuccessful (USAGE) with a line for each wrong field."""
    try:
        kind.model_validate_json(json.dumps(body), strict=True)
    except ValidationError as error:
        raise invalid("the request is not valid, so nothing was sent", error) from error
