"""The files of a model version in storage: each under its content's sha256, so that versions share what is equal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from models.card_file import CARD_FILE
from models.errors import NotFound
from worker.layout import model_file_key
from worker.model_manifest import ModelFile
from worker.storage import Storage


def files_of(folder: Path, pulse: Callable[[], None] = lambda: None) -> dict[str, ModelFile]:
    """Every file under the folder by its place there; its own card is left out, since the manifest is the card."""
    found: dict[str, ModelFile] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path == folder / CARD_FILE:
            continue
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        found[path.relative_to(folder).as_posix()] = ModelFile(sha256=sha256, bytes=path.stat().st_size)
        pulse()
    return found


def store_files(
    storage: Storage,
    tenant: str,
    folder: Path,
    files: Mapping[str, ModelFile],
    pulse: Callable[[], None] = lambda: None,
) -> None:
    """Stores what storage does not have yet, whole; `pulse` is called as bytes go, from several threads."""
    for place, file in files.items():
        key = model_file_key(tenant, file.sha256)
        if not _is_stored(storage, key, file):
            storage.upload(key, folder / place, "application/octet-stream", pulse=pulse)
        pulse()


def _is_stored(storage: Storage, key: str, file: ModelFile) -> bool:
    """Whether the object is there in its full length; its content is compared where it is fetched."""
    try:
        return storage.stat(key).bytes == file.bytes
    except NotFound:
        return False
