"""Checkpoints that survive a kill at any moment: files first, a marker last, the newest whole one read back.

A vault is where they lie: a folder here, S3 in the service. `{step}-{nonce}/complete.json` names every file with its
sha256; without it, or with a file that is not as it says, a checkpoint does not count.
"""

from __future__ import annotations

import errno
import hashlib
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from models.errors import EarthSynthError, NotFound, TrainingFailed

MARKER = "complete.json"
_FOLDER = re.compile(r"(\d{8})-[0-9a-f]{8}")
_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


class Vault(Protocol):
    """Files by name, "00000500-1f2e3d4c/weights.safetensors"; each is written once."""

    def put(self, name: str, file: Path) -> None:
        """Keep the file's bytes under the name; the file may be moved away."""

    def create(self, name: str, body: bytes) -> None:
        """Keep a small file, whole or not at all."""

    def names(self) -> Iterator[str]:
        """Yield every name."""

    def fetch(self, name: str, file: Path) -> None:
        """Write what is kept under the name to a file. Raises NotFound."""

    def delete(self, folder: str) -> None:
        """Forget every name that begins with the folder."""


class FolderVault:
    """A vault on this machine, or on a disk that several machines share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, file: Path) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)

    def create(self, name: str, body: bytes) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.new")
        fresh.write_bytes(body)
        fresh.replace(target)

    def names(self) -> Iterator[str]:
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                yield path.relative_to(self._folder).as_posix()

    def fetch(self, name: str, file: Path) -> None:
        try:
            shutil.copyfile(self._folder / name, file)
        except FileNotFoundError as error:
            raise NotFound(f"There is no {name}.") from error

    def delete(self, folder: str) -> None:
        shutil.rmtree(self._folder / folder, ignore_errors=True)


class _Marker(BaseModel):
    """`files`: name → sha256. `recipe`: the digest of the recipe whose state this is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    recipe: str
    files: dict[str, str]


def save_checkpoint(
    vault: Vault, step: int, recipe: str, write: Callable[[Path], None], *, scratch: Path, keep: int
) -> str:
    """Keep what `write` puts into an empty folder as the checkpoint of a step; return its name.

    The marker goes last. After that all checkpoints up to this step are deleted but the newest `keep` whole ones, of
    which this is the newest: one of a later step is damaged, or the training would have gone on from there.

    Raises:
        TrainingFailed: code "checkpoint_not_saved": the disk is full, or cannot be written to. Earlier ones stay.
    """
    folder = f"{step:08d}-{secrets.token_hex(4)}"
    made = scratch / folder
    try:
        made.mkdir(parents=True)
        write(made)
        files = {path.name: _sha256(path) for path in sorted(made.iterdir())}
        for name in files:
            vault.put(f"{folder}/{name}", made / name)
        marker = _Marker(step=step, recipe=recipe, files=files)
        vault.create(f"{folder}/{MARKER}", marker.model_dump_json().encode())
    except (OSError, SafetensorError) as error:
        vault.delete(folder)
        raise _not_saved(vault, step, error) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    _delete_older(vault, folder, keep)
    return folder


def load_checkpoint(
    vault: Vault, recipe: str, *, scratch: Path, warn: Callable[[str], None]
) -> tuple[int, Path] | None:
    """Return the step and files, under `scratch`, of the newest whole checkpoint; None where there is none.

    `warn` is told of each that is damaged and passed over.

    Raises:
        TrainingFailed: code "checkpoint_of_another_recipe".
    """
    for folder in reversed(whole_checkpoints(vault)):
        found = scratch / folder
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir(parents=True)
        try:
            marker = _read_marker(vault, folder, found)
            for name, sha256 in marker.files.items():
                vault.fetch(f"{folder}/{name}", found / name)
                _check(found / name, sha256)
        except (NotFound, ValidationError) as error:
            reason = error.message if isinstance(error, EarthSynthError) else "its marker cannot be read"
            warn(f"The checkpoint {folder} is damaged and passed over: {reason}")
            shutil.rmtree(found, ignore_errors=True)
            continue
        if marker.recipe != recipe:
            raise TrainingFailed(
                f"The checkpoint {folder} belongs to another recipe or another data set; train into a new folder.",
                code="checkpoint_of_another_recipe",
            )
        return marker.step, found
    return None


def whole_checkpoints(vault: Vault) -> list[str]:
    """Return the names of checkpoints that have a marker, oldest step first."""
    markers = (name.partition("/") for name in vault.names())
    return sorted(folder for folder, _, file in markers if file == MARKER and _FOLDER.fullmatch(folder))


def _read_marker(vault: Vault, folder: str, scratch: Path) -> _Marker:
    vault.fetch(f"{folder}/{MARKER}", scratch / MARKER)
    return _Marker.model_validate_json((scratch / MARKER).read_bytes())


def _delete_older(vault: Vault, saved: str, keep: int) -> None:
    earlier = [folder for folder in whole_checkpoints(vault) if folder[:8] < saved[:8]]
    kept = [*earlier, saved][-keep:]
    for folder in sorted({name.partition("/")[0] for name in vault.names()}):
        if _FOLDER.fullmatch(folder) and folder[:8] <= saved[:8] and folder not in kept:
            vault.delete(folder)


def _not_saved(vault: Vault, step: int, error: Exception) -> TrainingFailed:
    number = error.errno if isinstance(error, OSError) else None
    reason = _FULL.get(number or 0) or (
        "the disk is full" if "No space left" in str(error) else str(error) or type(error).__name__
    )
    whole = whole_checkpoints(vault)
    last = f"the last whole one, of step {int(whole[-1][:8])}, is intact" if whole else "there is none yet"
    return TrainingFailed(
        f"The checkpoint of step {step} could not be written: {reason}; {last}. Make room and start again.",
        code="checkpoint_not_saved",
    )


def _check(path: Path, sha256: str) -> None:
    if _sha256(path) != sha256:
        raise NotFound(f"{path.name} is not the file that was written")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
