"""Files from the storage: large ones continued where a connection broke, all checked by sha256."""

# Made by make_sync.py from _async/downloads.py; change it there.

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from earthsynth._answers import problem_error
from earthsynth._parts import PartFile, Progress, RemoteFile, Verdict, is_whole, judge
from earthsynth._sync.pauses import in_thread
from earthsynth.errors import APIConnectionError, APIError, DownloadError, EarthSynthError

if TYPE_CHECKING:
    from earthsynth._sync.transport import Transport

Find = Callable[[], RemoteFile]


def read(transport: Transport, url: str, sha256: str | None) -> bytes:
    """The bytes of a small file. Raises DownloadError: they do not have that sha256, or the URL has run out."""
    attempt = 0
    while True:
        try:
            with transport.fetch(url) as response:
                body: bytes = response.read()
                status, headers = response.status_code, response.headers
            if status == 200:
                break
            failure: EarthSynthError = problem_error(status, {}, headers, url.partition("?")[0])
            if status < 500 and status != 429:
                raise DownloadError(
                    f"the storage answers {status}; a URL that has run out must be asked for anew"
                )
        except APIConnectionError as error:
            failure = error
        pause = transport.retries.pause(failure, attempt)
        if pause is None:
            raise failure
        transport.rest(failure, pause)
        attempt += 1
    if sha256 and hashlib.sha256(body).hexdigest() != sha256:
        raise DownloadError(f"{url.partition('?')[0]} does not have the sha256 that the API names")
    return body


def download(transport: Transport, find: Find, path: Path, progress: Progress | None = None) -> bool:
    """Fetches the file to `path`; False when it was there already, whole.

    `find` names the file with a fresh URL, and is asked again when the URL has run out. Until the sha256 is right the
    bytes lie in `{path}.part`, from where a later call goes on. Raises DownloadError; APIConnectionError or APIError
    when nothing more came for all retries.
    """
    wanted = find()
    if in_thread(is_whole, path, wanted):
        return False
    part = in_thread(PartFile, path)
    with part:
        if part.size > wanted.bytes:
            part.start_anew()
        kept = part.size
        transfer = _Transfer(transport, find, wanted, part, progress)
        transfer.finish()
        if kept and part.sha256 != wanted.sha256:  # what was kept of an earlier call was of another file
            part.start_anew()
            transfer.finish()
        if part.sha256 == wanted.sha256:
            in_thread(part.commit)
            return True
        part.discard()
    raise DownloadError(f"what came for {path.name} does not have the sha256 that the API names")


class _Transfer:
    """One file on its way."""

    def __init__(
        self,
        transport: Transport,
        find: Find,
        wanted: RemoteFile,
        part: PartFile,
        progress: Progress | None,
    ) -> None:
        self._transport, self._find, self._wanted, self._part = transport, find, wanted, part
        self._progress = progress
        self._url, self._fresh = wanted.url, True

    def finish(self) -> None:
        """Receives what is missing; every byte more makes the retries begin anew."""
        furthest, attempt = self._part.size, 0
        while self._part.size < self._wanted.bytes:
            failure: EarthSynthError = APIConnectionError("the storage ended its answer too early")
            try:
                self._go_on()
            except (APIConnectionError, APIError) as error:
                failure = error
            if self._part.size > furthest:
                furthest, attempt = self._part.size, 0
                continue
            if self._part.size >= self._wanted.bytes:
                return
            pause = self._transport.retries.pause(failure, attempt)
            if pause is None:
                raise failure
            self._transport.rest(failure, pause)
            attempt += 1

    def _go_on(self) -> None:
        """Receives some of what is missing."""
        have = self._part.size
        with self._transport.fetch(self._url, have) as response:
            headers = response.headers
            verdict = judge(response.status_code, headers, have, self._wanted, fresh=self._fresh)
            if verdict is Verdict.AWAY:
                raise problem_error(response.status_code, {}, headers, "the storage")
            if verdict is not Verdict.RENEW:
                self._fresh = False
                if verdict is Verdict.REPLACE:
                    self._part.start_anew()
                for chunk in response.iter_raw():
                    if self._part.size + len(chunk) > self._wanted.bytes:
                        raise DownloadError(
                            f"the storage sends more than the {self._wanted.bytes} bytes that the API names"
                        )
                    self._part.append(chunk)
                    if self._progress is not None:
                        self._progress(self._part.size, self._wanted.bytes)
                return
        self._renew()
        self._go_on()

    def _renew(self) -> None:
        found = self._find()
        if (found.bytes, found.sha256) != (self._wanted.bytes, self._wanted.sha256):
            raise DownloadError("the file has been replaced by another one during the download")
        self._url, self._fresh = found.url, True
