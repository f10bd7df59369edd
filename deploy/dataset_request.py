"""What `earthsynth dataset create` sends: masks from a zip, a folder, a set or imports, and the request's body."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.dataset_client import Service
from deploy.exit_codes import ExitCode, Unsuccessful, wrong_usage
from models.archives.names import is_junk
from worker.dataset_specs import DatasetRequest
from worker.mask_set_sources import MaskSetRequest

_SET_ID = re.compile(r"mset_[0-9a-f]{64}")
_PREFIX = "prefix:"
_PACKED = frozenset({".png", ".tif", ".tiff"})  # deflating them again gains nothing
_SHOWN_REFUSALS = 20


def named_numbers(pairs: Sequence[str], number: type[int] | type[float], option: str) -> dict[str, float]:
    """`["storage tank=200"]` as {"storage tank": 200}. Raises Unsuccessful (USAGE)."""
    found: dict[str, float] = {}
    for pair in pairs:
        name, _, text = pair.rpartition("=")
        if not name or name in found:
            raise wrong_usage(f"{option} {pair!r}: write it as NAME=NUMBER, each name once")
        try:
            found[name] = number(text)
        except ValueError as error:
            raise wrong_usage(f"{option} {pair!r}: {text!r} is no number of its kind") from error
    return found


def dataset_body(
    spec: Mapping[str, Any], options: Mapping[str, Any], *, masks_follow: bool
) -> dict[str, Any]:
    """The body of POST /v1/datasets: `options` laid over `spec`, objects in it field by field.

    Raises Unsuccessful (USAGE) for what the service would refuse only after the masks have been uploaded.
    """
    body = dict(spec)
    if "samples_per_mask" in options:
        body.pop("goal", None)
    elif "accepted_per_category" in options.get("goal", {}):
        body.pop("samples_per_mask", None)
    for name, value in options.items():
        before = body.get(name)
        body[name] = before | value if isinstance(value, dict) and isinstance(before, dict) else value
    if masks_follow:
        body["masks"] = {"mask_set_id": "mset_"}
    _check(DatasetRequest, body)
    return body


def mask_set_of(service: Service, console: Console, masks: str, reading: Mapping[str, Any]) -> str:
    """The id of the set that `masks` stands for: uploaded, imported, or a known one.

    `reading`: how the files are to be read; only what was given. Raises Unsuccessful.
    """
    if _SET_ID.fullmatch(masks):
        if reading:
            raise wrong_usage(f"{', '.join(reading)}: a set that exists is not read again; give its files")
        return masks
    if masks.startswith(_PREFIX):
        asked = dict(reading) | {"prefix": masks.removeprefix(_PREFIX).rstrip("/") + "/"}
        _check(MaskSetRequest, asked)
        return _told(console, service.keep_mask_set(json=asked))
    _check(MaskSetRequest, reading)
    fields = {name: _form_text(value) for name, value in reading.items()}
    path = Path(masks)
    if not path.exists():
        raise wrong_usage(f"--masks {masks}: no such file or folder, and neither mset_… nor prefix:imports/…")
    with _as_zip(path, console) as archive, _upload_bar(console, path.name, archive) as file:
        name = path.name if path.is_file() else f"{path.resolve().name}.zip"
        kept = service.keep_mask_set(data=fields, files={"file": (name, file, "application/zip")})
    return _told(console, kept)


def zip_folder(folder: Path, into: IO[bytes]) -> int:
    """Write every file under the folder into a zip, in order of their paths; the number of them.

    Hidden files and what operating systems leave are left out; of links, what they lead to is packed.
    """
    files = 0
    with zipfile.ZipFile(into, "w", strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if hidden or is_junk(name) or not path.is_file():
                continue
            how = zipfile.ZIP_STORED if path.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
            try:
                archive.write(path, name, compress_type=how)
            except UnicodeEncodeError as error:
                raise wrong_usage(f"--masks: {name!a}: the file's name is not UTF-8; rename it") from error
            files += 1
    return files


@contextmanager
def _as_zip(path: Path, console: Console) -> Iterator[BinaryIO]:
    """The zip itself, or the folder as one, in a temporary file without a name."""
    if path.is_file():
        with path.open("rb") as archive:
            yield archive
        return
    with tempfile.TemporaryFile(prefix="earthsynth-masks-") as spool:
        files = zip_folder(path, spool)
        if not files:
            raise wrong_usage(f"--masks {path}: there is no file in this folder")
        console.print(f"packed {files} files of {path}", markup=False, highlight=False, soft_wrap=True)
        spool.seek(0)
        yield cast(BinaryIO, spool)


@contextmanager
def _upload_bar(console: Console, name: str, archive: BinaryIO) -> Iterator[BinaryIO]:
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


def _told(console: Console, kept: Mapping[str, Any]) -> str:
    """The set's id; what is in it and what is not goes to stderr."""
    refused, ignored = kept["refused"], kept["ignored"]
    lines = [
        f"mask set {kept['id']}: {kept['masks']} masks from {kept['files']} files",
        *(f"refused {line['name']}: {line['code']}: {line['message']}" for line in refused[:_SHOWN_REFUSALS]),
    ]
    if len(refused) > _SHOWN_REFUSALS:
        lines.append(f"… and {len(refused) - _SHOWN_REFUSALS} more refused files")
    if ignored:
        lines.append(f"ignored {len(ignored)} files that an operating system left")
    lines += [f"warning: {warning}" for warning in kept["warnings"]]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return str(kept["id"])


def _form_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(kind: type[BaseModel], body: Mapping[str, Any]) -> None:
    """Raises Unsuccessful (USAGE) with a line for each wrong field."""
    try:
        kind.model_validate_json(json.dumps(body), strict=True)
    except ValidationError as error:
        lines = [f"  /{'/'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        first = "error: the request is not valid, so nothing was sent:"
        raise Unsuccessful(ExitCode.USAGE, first, *lines) from error
