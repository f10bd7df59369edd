"""A zip that is the same bytes whenever it is made."""

from __future__ import annotations

import io
import zipfile


def a_zip(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, content in (files or {"a.png": b"no picture"}).items():
            out.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()
