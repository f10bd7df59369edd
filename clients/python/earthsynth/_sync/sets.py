"""Sending a set of files: a zip as a form, or where the files lie in the tenant's imports."""

# Made by make_sync.py from _async/sets.py; change it there.

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from earthsynth._parts import Progress
from earthsynth._requests import post
from earthsynth._sync.pauses import in_thread
from earthsynth.archives import Wanted, ZipSource, everything, watched, zip_upload
from earthsynth.errors import RequestError

if TYPE_CHECKING:
    import httpx

    from earthsynth._sync.transport import Transport

_CHECK_SECONDS = 600.0  # ten thousand files are checked before the answer


def send_set(
    transport: Transport,
    path: str,
    source: ZipSource | None,
    prefix: str | None,
    fields: dict[str, Any],
    progress: Progress | None,
    wanted: Wanted = everything,
) -> httpx.Response:
    """The answer. `fields` say how the files are to be read; `wanted`: which files of a folder are sent.

    Raises RequestError: not exactly one of source and prefix, or no such file.
    """
    if (source is None) == (prefix is None):
        raise RequestError("give a zip or a folder, or a prefix; exactly one of them")
    if source is None:
        return transport.send(post(path, {**fields, "prefix": prefix}, read_seconds=_CHECK_SECONDS))
    with ExitStack() as stack:
        upload = in_thread(stack.enter_context, zip_upload(source, wanted))
        upload = watched(upload, progress)
        return transport.send(post(path, fields, upload=upload, read_seconds=_CHECK_SECONDS))
