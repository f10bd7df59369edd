"""The names of archive entries: labels for people, never paths. No file is ever made from one."""

from __future__ import annotations

import re
import unicodedata

from models.errors import InvalidInput

MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255
_JUNK_NAMES = {".ds_store", "thumbs.db", "desktop.ini"}
_INVISIBLE = {
    "Cc",
    "Cf",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
}  # controls, bidi and zero-width marks, line separators …


def decode_name(raw: bytes, *, is_utf8: bool) -> str:
    """Return the text of a name as the archive stores it.

    Without the UTF-8 flag the zip format says code page 437, in which every byte is a character; but macOS writes
    UTF-8 without the flag, so that comes first where the bytes allow it. The same bytes always give the same text.

    Raises:
        InvalidInput: code "unsafe_name", for bytes that are not the UTF-8 they are said to be.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if is_utf8:
            raise _unsafe("is not UTF-8 although the archive says so") from error
        return raw.decode("cp437")


def check_name(name: str, size_bytes: int) -> None:
    """Raise InvalidInput for a name that is no plain relative path (unsafe_name) or too long (name_too_long).

    `size_bytes` is the name's length in the archive. One slash at the end (a folder) is allowed.
    """
    path = name.removesuffix("/")
    parts = path.split("/")
    if not path.strip():
        raise _unsafe("is empty")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise _unsafe("holds a control character")
    if "\\" in name:
        raise _unsafe("holds a backslash; folders are separated by /")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise _unsafe("is an absolute path")
    if any(part in {"", ".", ".."} for part in parts):
        raise _unsafe("has an empty part, a . or a ..")
    if size_bytes > MAX_PATH_BYTES or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise InvalidInput(
            f"The name is longer than {MAX_PART_BYTES} bytes in a part or {MAX_PATH_BYTES} in all; shorten it.",
            code="name_too_long",
        )


def shown_name(name: str) -> str:
    r"""Return the name for answers, logs and records: invisible characters as \uXXXX, at most 1,024 characters.

    A name that `check_name` passes holds no backslash, so an escape in the result is never the name's own text.
    """
    shown = "".join(
        f"\\u{ord(character):04x}" if unicodedata.category(character) in _INVISIBLE else character
        for character in name[:MAX_PATH_BYTES]
    )
    return shown + "…" if len(name) > MAX_PATH_BYTES else shown


def is_junk(name: str) -> bool:
    """Whether an operating system left this beside the user's files."""
    *folders, last = name.split("/")
    return "__MACOSX" in folders or last.lower() in _JUNK_NAMES


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key in which tile2 comes before tile10, whatever the case."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def _unsafe(reason: str) -> InvalidInput:
    return InvalidInput(
        f"The name {reason}. Use plain relative names such as scenes/tile_01.png.", code="unsafe_name"
    )
