"""An object of any size as a file that is read once: a connection that breaks is taken up again where it broke."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Generator

from models.errors import Unavailable

_PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0)  # between tries that bring nothing


class ObjectStream(io.RawIOBase):
    """A reader of `size` bytes. `pieces_from(offset)` yields those from there on; raises Unavailable where it breaks.

    Servers close a connection on which nobody reads for a while, and a training reads when it needs samples.
    """

    def __init__(self, pieces_from: Callable[[int], Generator[bytes, None, None]], size: int) -> None:
        super().__init__()
        self._pieces_from, self._size = pieces_from, size
        self._at = 0  # of what was read from the server
        self._pieces: Generator[bytes, None, None] | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        """Fills the buffer's beginning; 0 at the end. Raises Unavailable when many tries bring nothing."""
        if not self._rest:
            self._rest = memoryview(self._next())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next(self) -> bytes:
        """Returns the next piece, empty at the end."""
        for pause in _PAUSES_SECONDS:
            try:
                return self._try()
            except Unavailable:
                time.sleep(pause)
        return self._try()

    def _try(self) -> bytes:
        if self._at == self._size:
            return b""
        pieces, self._pieces = self._pieces or self._pieces_from(self._at), None
        piece = next(pieces, b"")
        if not piece:
            raise Unavailable(
                f"An object ended after {self._at} of {self._size} bytes.", code="storage_unavailable"
            )
        self._pieces = pieces  # it works: only then it is asked again
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Gives the connection back."""
        if self._pieces is not None:
            self._pieces.close()
        super().close()
