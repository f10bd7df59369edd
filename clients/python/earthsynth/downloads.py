"""One file of a known sha256, fetched without a service: for programs that have its presigned URL from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx

from earthsynth._parts import Progress, RemoteFile
from earthsynth._settings import DEFAULT_MAX_RETRIES, settings_of
from earthsynth._sync.downloads import download
from earthsynth._sync.transport import Transport
from earthsynth.retries import Retries

__all__ = ["RemoteFile", "fetch_file"]


def fetch_file(
    find: Callable[[], RemoteFile],
    path: Path,
    *,
    progress: Progress | None = None,
    retry_policy: Retries | None = None,
    http_client: httpx.Client | None = None,
) -> bool:
    """Fetches the file to `path`; False when it was there already, whole. No API key goes with it.

    `find` names the file with a fresh URL, and is asked again when the URL has run out. Until the sha256 is right the
    bytes lie in `{path}.part`, from where a later call goes on. Raises DownloadError, APIConnectionError, APIError.
    """
    transport = Transport(settings_of(None, "", None, DEFAULT_MAX_RETRIES), http_client, retries=retry_policy)
    try:
        return download(transport, find, path, progress)
    finally:
        transport.close()
