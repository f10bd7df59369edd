"""Published models on this machine: their files once each, under their sha256, and a folder of links for each.

CACHE/files/{sha256}       what was fetched and verified
CACHE/versions/{digest}/   a version's files by their places, hard links to those above
CACHE/versions/{digest}.in-use   locked (shared) by every process that has the version; its time: the last use
CACHE/partial/             what is still being fetched

Several processes may use one cache, and fetch the same version at once.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from models.errors import ModelUnavailable, NotFound
from models.model_card import ModelCard
from worker.layout import model_file_key
from worker.logs import get_logger
from worker.model_manifest import ModelFile, ModelManifest
from worker.registry import ModelRegistry

log = get_logger(__name__)

_LOCK_SUFFIX = ".in-use"
_PIECE_BYTES = 1 << 20
_ABANDONED_SECONDS = 3600.0  # a partial file that has not grown for so long is a dead process's


class ModelCache:
    """The version that this process uses, and the folder it lies in. Used by one thread.

    Above `max_bytes` the versions that were used longest ago go, but none that a process has in use: the last one
    that it fetched.
    """

    def __init__(self, registry: ModelRegistry, folder: Path, max_bytes: int) -> None:
        self._registry, self._folder, self._max_bytes = registry, folder, max_bytes
        self._in_use: IO[bytes] | None = None

    def fetch(self, tenant: str, card: ModelCard, pulse: Callable[[], None] = lambda: None) -> ModelCard:
        """The card with the folder where its files lie; a shipped model's as it is. `pulse` is called all along.

        Every byte has been compared with the manifest's hashes; whether it is safe to load is for `open_checkpoint`.

        Raises ModelUnavailable: an object that is absent, or not the one that was published (model_hash_mismatch), a
        damaged manifest, a full disk. Raises Unavailable when storage is away.
        """
        if card.base:
            return card
        manifest = self._registry.manifest(tenant, card.name, card.version)
        place = self._folder / "versions" / manifest.digest
        try:
            for name in ("files", "versions", "partial"):
                (self._folder / name).mkdir(parents=True, exist_ok=True)
            self._take(place)
            self._fill(tenant, manifest, place, pulse)
        except OSError as error:
            raise _no_room(card, manifest, error) from error
        return replace(card, base=str(place), controlnet=str(place))

    def close(self) -> None:
        """Gives back the version in use: any process may delete it from now on."""
        if self._in_use is not None:
            self._in_use.close()
            self._in_use = None

    def _take(self, place: Path) -> None:
        """Marks the version as used by this process from now on, in place of the one before."""
        lock = place.with_name(place.name + _LOCK_SUFFIX).open("ab")
        fcntl.flock(lock, fcntl.LOCK_SH)  # waits only while the version is being deleted
        os.utime(lock.fileno())
        self.close()
        self._in_use = lock

    def _fill(self, tenant: str, manifest: ModelManifest, place: Path, pulse: Callable[[], None]) -> None:
        """Links every file of the version to its place, and fetches those that are absent or damaged."""
        absent: dict[str, ModelFile] = {}
        for name, file in manifest.files.items():
            if not self._link(file, place / name, pulse):
                absent[name] = file
        if not absent:
            return
        self._make_room(sum(file.bytes for file in {file.sha256: file for file in absent.values()}.values()))
        for name, file in absent.items():
            if not self._link(file, place / name, pulse):  # else another place had the same content
                self._download(tenant, manifest, file, place / name, pulse)

    def _link(self, file: ModelFile, place: Path, pulse: Callable[[], None]) -> bool:
        """Puts the cached file in its place; False where there is none, or one that is damaged, which then goes."""
        cached = self._folder / "files" / file.sha256
        with self._scratch() as scratch:
            try:
                _link_or_copy(cached, scratch)  # from here on nobody else deletes these bytes
            except FileNotFoundError:
                return False
            if not _is(scratch, file, pulse):
                log.warning("damaged file in the model cache, fetched again", sha256=file.sha256)
                cached.unlink(missing_ok=True)
                return False
            if place.exists() and place.samefile(scratch):
                return True
            place.parent.mkdir(parents=True, exist_ok=True)
            scratch.replace(place)
        return True

    def _download(
        self, tenant: str, manifest: ModelManifest, file: ModelFile, place: Path, pulse: Callable[[], None]
    ) -> None:
        """Fetches one file, compares it with its hash, and only then gives it its name and its place."""
        key, storage = model_file_key(tenant, file.sha256), self._registry.storage
        try:
            size = storage.stat(key).bytes
        except NotFound as error:
            raise _refused(manifest, f"{place.name} is absent from storage", "model_unavailable") from error
        if size != file.bytes:
            raise _refused(manifest, f"{place.name} has {size} bytes in storage, not {file.bytes}")
        with self._scratch() as scratch, self._scratch() as second:
            found = hashlib.sha256()
            with storage.open(key) as source, scratch.open("xb") as target:
                while piece := source.read(_PIECE_BYTES):
                    found.update(piece)
                    target.write(piece)
                    pulse()
            if found.hexdigest() != file.sha256:
                raise _refused(manifest, f"{place.name} in storage is not the file that was published")
            place.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(scratch, second)
            second.replace(place)  # first: a file without a second link may be deleted by another process
            scratch.replace(self._folder / "files" / file.sha256)

    def _make_room(self, needed_bytes: int) -> None:
        """Deletes versions that no process uses, the longest unused first, until so many bytes more fit."""
        for partial in (self._folder / "partial").iterdir():
            with suppress(FileNotFoundError):
                if time.time() - partial.stat().st_ctime > _ABANDONED_SECONDS:  # a link is as young as itself
                    partial.unlink()
        locks = (self._folder / "versions").glob("*" + _LOCK_SUFFIX)
        for lock in sorted(locks, key=lambda lock: lock.stat().st_mtime):
            if self._held_bytes() + needed_bytes <= self._max_bytes:
                return
            place = lock.with_name(lock.name.removesuffix(_LOCK_SUFFIX))
            with lock.open("ab") as unused:
                try:
                    fcntl.flock(unused, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if place.is_dir():
                    log.info("model version leaves the cache", digest=place.name)
                    shutil.rmtree(place)
            self._drop_unlinked()

    def _drop_unlinked(self) -> None:
        """Deletes the files that no version has any more."""
        for cached in (self._folder / "files").iterdir():
            with suppress(FileNotFoundError):
                if cached.stat().st_nlink == 1:
                    cached.unlink()

    def _held_bytes(self) -> int:
        """What the cache takes on disk, every content once."""
        sizes: dict[int, int] = {}
        for folder, _, names in os.walk(self._folder):
            for name in names:
                with suppress(FileNotFoundError):  # another process is at work here too
                    found = Path(folder, name).stat()
                    sizes[found.st_ino] = found.st_size
        return sum(sizes.values())

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A name in `partial` that nobody else has; what is left under it afterwards goes."""
        path = self._folder / "partial" / secrets.token_hex(8)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _link_or_copy(source: Path, target: Path) -> None:
    """A second name for the file; a copy on file systems that know no hard links. Raises FileNotFoundError."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _is(path: Path, wanted: ModelFile, pulse: Callable[[], None]) -> bool:
    """Whether the file's length and SHA-256 are those."""
    if path.stat().st_size != wanted.bytes:
        return False
    pulse()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    pulse()
    return found == wanted.sha256


def _refused(manifest: ModelManifest, fault: str, code: str = "model_hash_mismatch") -> ModelUnavailable:
    return ModelUnavailable(
        f"Model {manifest.name}@{manifest.version}: {fault}, so it is not loaded.", code=code
    )


def _no_room(card: ModelCard, manifest: ModelManifest, error: OSError) -> ModelUnavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        need = sum(file.bytes for file in manifest.files.values())
        return ModelUnavailable(
            f"Model {card.name}@{card.version} needs {need} bytes and the disk of the model cache is full: free "
            "some, lower EARTHSYNTH_MODEL_CACHE_BYTES, or set EARTHSYNTH_MODEL_CACHE to a folder on a larger one."
        )
    return ModelUnavailable(
        f"Model {card.name}@{card.version}: the model cache cannot be written "
        f"({errno.errorcode.get(error.errno or 0, type(error).__name__)}); see EARTHSYNTH_MODEL_CACHE."
    )
