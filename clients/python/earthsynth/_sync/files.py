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

_PATH = "/v1/files/"


class Files:
    """`client.files`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def url(self, link: str) -> str:
        """A fresh presigned URL of the file that a `link`, or the end of one after /v1/files/, names."""
        request = get(f"{_PATH}{quote(link.removeprefix(_PATH), safe='/')}").redirecting()
        return str((self._client._transport.send(request)).headers["location"])

    def read(self, file: FileRef | str) -> bytes:
        """The bytes of a file: `sample.image`, `preview.sheet` …, or a `link`; checked where the sha256 is known.

        For pictures and sheets; a data set's archive is better left to its `download`.
        """
        if isinstance(file, str):
            return read(self._client._transport, self.url(file), None)
        url = self.url(file.link) if file.link and file.run_out() else file.url
        return read(self._client._transport, url, file.sha256)

    def save(self, file: FileRef | str, path: str | Path) -> Path:
        """Writes the file to a path."""
        content, place = self.read(file), Path(path)
        in_thread(place.write_bytes, content)
        return place
