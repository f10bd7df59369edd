"""Free TCP ports on the loopback address."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
# Below Linux's ephemeral range (from 32768), so that no outgoing connection takes a port between the moment
# it is chosen and the moment its server binds it.
CHOICE = range(20000, 32000)


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
    for port in random.SystemRandom().sample(CHOICE, len(CHOICE)):
        if is_free(port):
            chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise OSError(f"fewer than {count} free ports between {CHOICE.start} and {CHOICE.stop - 1}")
