"""Free TCP ports on the loopback address."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterator

from deploy.stack_error import StackError

LOOPBACK = "127.0.0.1"
# Below Linux's ephemeral range (from 32768), so that no outgoing connection takes a port between the moment
# it is chosen and the moment its server binds it.
CHOICE = range(20000, 32000)
BACKLOG = 2048  # connections that wait to be taken, uvicorn's own number


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `port` now; TIME_WAIT counts as free, as it does for servers."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(count: int) -> list[int]:
    """`count` different free ports, chosen at random so that two stacks starting at once rarely meet."""
    chosen: list[int] = []
    for port in _at_random():
        if is_free(port):
            chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise _too_few(count)


def listen(port: int = 0) -> socket.socket:
    """A socket that listens on `port`, or on a free one for 0: from now on nobody else gets it.

    Raises: StackError when that port is in use.
    """
    for candidate in [port] if port else _at_random():
        try:
            return _listening_on(candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if port:
                raise StackError(
                    f"port {port} is in use; stop what listens there, or choose another port"
                ) from error
    raise _too_few(1)


def _listening_on(port: int) -> socket.socket:
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((LOOPBACK, port))
        found.listen(BACKLOG)
    except OSError:
        found.close()
        raise
    return found


def _too_few(count: int) -> OSError:
    return OSError(f"fewer than {count} free ports between {CHOICE.start} and {CHOICE.stop - 1}")


def _at_random() -> Iterator[int]:
    yield from random.SystemRandom().sample(CHOICE, len(CHOICE))
