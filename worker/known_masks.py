"""What mask files mean that were read before: the same file again need not be decoded, measured and encoded.

Only the reading is remembered. Whether the mask is still in storage is asked again, since it may be deleted.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Generic, TypeVar

MOST = 4096  # records of about 2 kB

_Record = TypeVar("_Record")


class KnownMasks(Generic[_Record]):
    """Records by the file's bytes, those that were asked for last; used from many threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, _Record] = OrderedDict()

    def get(self, file: bytes) -> _Record | None:
        """What was noted of that file."""
        digest = hashlib.sha256(file).digest()
        with self._lock:
            if digest in self._known:
                self._known.move_to_end(digest)
            return self._known.get(digest)

    def note(self, file: bytes, record: _Record) -> None:
        """Remembers what the file means, in place of what was asked for longest ago."""
        digest = hashlib.sha256(file).digest()
        with self._lock:
            self._known[digest] = record
            self._known.move_to_end(digest)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
