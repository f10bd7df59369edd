"""What mask files mean that were read before: the same file again need not be decoded, measured and encoded.

Whether the mask is still in storage is another question, since it may be deleted. Whoever has seen it there believes
it until one of the tenant's masks is deleted: that is told in Redis, which costs a third of asking the storage.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from typing import Any, Generic, TypeVar

from redis import Redis

from worker.redis_client import reachable
from worker.redis_keys import mask_deletion_key

MOST = 4096  # records of about 2 kB
_NAMED_SECONDS = 86_400

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


def last_deletion(redis: Redis, tenant: str) -> bytes:
    """Names the last deletion of one of the tenant's masks. After a loss of Redis it is another name too.

    What was in storage after this was asked is there as long as it answers the same. Raises Unavailable.
    """
    fresh = secrets.token_bytes(8)
    with reachable():
        known: Any = redis.set(mask_deletion_key(tenant), fresh, nx=True, get=True, ex=_NAMED_SECONDS)
    return fresh if known is None else bytes(known)


def tell_deletion(redis: Redis, tenant: str) -> None:
    """Called when a mask is not found any more: from now on nobody who asks believes it. Raises Unavailable."""
    with reachable():
        redis.set(mask_deletion_key(tenant), secrets.token_bytes(8), ex=_NAMED_SECONDS)
