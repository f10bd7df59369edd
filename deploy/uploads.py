"""Files on their way to the service: a folder as a zip, a bar while it goes, and what is checked before."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.exit_codes import invalid, wrong_usage
from models.archives.names import is_junk

# deflating them again gains nothing
_PACKED = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"})


def zip_folder(
    folder: Path, into: IO[bytes], option: str, wanted: Callable[[Path], bool] = lambda _: True
) -> int:
    """Write every file under the folder into a zip, in order of their paths; the number of them.

    Hidden files, what operating systems leave and what is not `wanted` (relative to the folder) are left out; of
    links, what they lead to is packed. Raises Unsuccessful (USAGE) about the `option` that named the folder.
    """
    files = 0
    with zipfile.ZipFile(into, "w", strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in relative.parts)
            if hidden or is_junk(relative.as_posix()) or not path.is_file() or not wanted(relative):
                continue
            how = zipfile.ZIP_STORED if path.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
            try:
                archive.write(path, relative.as_posix(), compress_type=how)
            except UnicodeEncodeError as error:
                raise wrong_usage(
                    f"{option}: {relative.as_posix()!a}: the file's name is not UTF-8; rename it"
                ) from error
            files += 1
    return files


@contextmanager
def as_zip(
    path: Path, console: Console, option: str, wanted: Callable[[Path], bool] = lambda _: True
) -> Iterator[BinaryIO]:
    """The zip itself, or the folder as one, in a temporary file without a name; arguments as of `zip_folder`."""
    if path.is_file():
        with path.open("rb") as archive:
            yield archive
        return
    with tempfile.TemporaryFile(prefix="earthsynth-upload-") as spool:
        files = zip_folder(path, spool, option, wanted)
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


def form_text(value: Any) -> str:
    """A value as a form sends it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_body(kind: type[BaseModel], body: Mapping[str, Any]) -> None:
    """Raises Unsuccessful (USAGE) with a line for each wrong field."""
    try:
        kind.model_validate_json(json.dumps(body), strict=True)
    except ValidationError as error:
        raise invalid("the request is not valid, so nothing was sent", error) from error
