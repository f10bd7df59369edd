"""What waits, read straight from Redis."""

from __future__ import annotations

from typing import Any

from redis import Redis


def waiting(redis: Redis, queue: str = "generation", tenant: str = "local") -> list[str]:
    """The entries that go before everything, then those of the tenant."""
    found: Any = redis.lrange(f"rq:queue:{queue}", 0, -1)
    found += redis.lrange(f"es:line:{queue}:{tenant}", 0, -1)
    return [entry.decode() for entry in found]


def lose_queue(redis: Redis, queue: str = "generation") -> None:
    """Deletes whatever says that an entry waits; the entries' own hashes stay."""
    lines: Any = redis.keys(f"es:line:{queue}:*")
    redis.delete(f"rq:queue:{queue}", f"es:turns:{queue}", f"es:turn:{queue}", f"es:served:{queue}", *lines)
