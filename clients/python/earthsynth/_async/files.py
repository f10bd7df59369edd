"""Files that the service has stored: pictures, masks, sheets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from earthsynth._async.downloads import read
from earthsynth._async.pauses import in_thread
from earthsynth._requests import get
from earthsynth.types.records import FileRef

if TYPE_CHECKING:
    from earthsynth._async.client import AsyncEarthSynth


class AsyncFiles:
    """`client.files`"""

    def __init__(self, client: AsyncEarthSynth) -> None:
        self._client = client

    async def url(self, key: str) -> str:
        """A fresh presigned URL of the file under a key."""
        request = get(f"/v1/files/{quote(key, safe='/')}").redirecting()
        return str((await self._client._transport.send(request)).headers["location"])

    async def read(self, file: FileRef | str) -> bytes:
        """The bytes of a file: `sample.image`, `preview.sheet` …, or a key; checked where the sha256 is known.

        For pictures and sheets; a data set's archive is better left to its `download`.
        """
        if isinstance(file, FileRef):
            return await read(self._client._transport, file.url, file.sha256)
        return await read(self._client._transport, await self.url(file), None)

    async def save(self, file: FileRef | str, path: str | Path) -> Path:
        """Writes the file to a path."""
        content, place = await self.read(file), Path(path)
        await in_thread(place.write_bytes, content)
        return place
