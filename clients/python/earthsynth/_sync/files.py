"""Files that the service has stored: pictures, masks, sheets."""

# Made by make_sync.py from _async/files.py; change it there.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from earthsynth._requests import get
from earthsynth._sync.downloads import read
from earthsynth._sync.pauses import in_thread
from earthsynth.types.records import FileRef

if TYPE_CHECKING:
    from earthsynth._sync.client import EarthSynth


class Files:
    """`client.files`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def url(self, key: str) -> str:
        """A fresh presigned URL of the file under a key."""
        request = get(f"/v1/files/{quote(key, safe='/')}").redirecting()
        return str((self._client._transport.send(request)).headers["location"])

    def read(self, file: FileRef | str) -> bytes:
        """The bytes of a file: `sample.image`, `preview.sheet` …, or a key; checked where the sha256 is known.

        For pictures and sheets; a data set's archive is better left to its `download`.
        """
        if isinstance(file, FileRef):
            return read(self._client._transport, file.url, file.sha256)
        return read(self._client._transport, self.url(file), None)

    def save(self, file: FileRef | str, path: str | Path) -> Path:
        """Writes the file to a path."""
        content, place = self.read(file), Path(path)
        in_thread(place.write_bytes, content)
        return place
