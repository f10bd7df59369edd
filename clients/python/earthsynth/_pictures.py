"""Masks and pictures as the caller has them, turned into the bytes of a file. Imports neither NumPy nor Pillow."""

from __future__ import annotations

import base64
import io
import os
import sys
from pathlib import Path
from typing import BinaryIO, Protocol, cast, runtime_checkable

from earthsynth.errors import RequestError


@runtime_checkable
class PillowImage(Protocol):
    """What a `PIL.Image.Image` looks like from here."""

    mode: str

    def save(self, fp: BinaryIO, format: str) -> None: ...  # noqa: A002  (Pillow's own name)


@runtime_checkable
class Array(Protocol):
    """What a `numpy.ndarray` looks like from here."""

    @property
    def __array_interface__(self) -> object: ...


Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PillowImage | Array
"""A path, a file's bytes, an open file, a Pillow image or an array (height, width)."""


def file_bytes(picture: Picture) -> bytes:
    """The file: a path's or an open file's content; a Pillow image as PNG; an array as NPY, its values as they are.

    Raises RequestError for what is none of these, OSError for a path that cannot be read.
    """
    if isinstance(picture, str | os.PathLike):
        return Path(picture).read_bytes()
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    buffer = io.BytesIO()
    if hasattr(picture, "save") and hasattr(picture, "mode"):
        cast(PillowImage, picture).save(buffer, "PNG")
        return buffer.getvalue()
    if hasattr(picture, "__array_interface__"):
        numpy = sys.modules["numpy"]  # whoever has an array has it
        numpy.save(buffer, picture, allow_pickle=False)
        return buffer.getvalue()
    if hasattr(picture, "read"):
        found = picture.read()
        if isinstance(found, bytes):
            return found
        raise RequestError("the file is open as text; open it with mode 'rb'")
    raise RequestError(
        f"a {type(picture).__name__} is no picture: give a path, bytes, an open file, an image or array"
    )


def base64_text(picture: Picture) -> str:
    """The file as JSON carries it."""
    return base64.b64encode(file_bytes(picture)).decode()
