"""How fast workers have lately been: what estimates are made of. Lost with Redis, and soon measured again."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from worker.logs import get_logger
from worker.redis_client import reachable

log = get_logger(__name__)

_KEPT_SECONDS = 30 * 86_400
_NOTE = """
-- KEYS: speed ; ARGV: work, seconds, kept seconds: older measurements fade, by a fifth with each new one
local work = tonumber(redis.call('HGET', KEYS[1], 'work') or 0) * 0.8 + tonumber(ARGV[1])
local seconds = tonumber(redis.call('HGET', KEYS[1], 'seconds') or 0) * 0.8 + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'work', work, 'seconds', seconds)
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""


def note_speed(redis: Redis, model: str, *, work: float, seconds: float) -> None:
    """Remembers that one worker did so much with the model (pixels x denoising steps; of a training, steps).

    Never fails the job that it measures.
    """
    try:
        redis.eval(_NOTE, 1, _key(model), work, seconds, _KEPT_SECONDS)
    except RedisError as error:
        log.warning("speed not noted", model=model, error=str(error))


def speed(redis: Redis, model: str) -> float | None:
    """Work of one worker in a second, over its last measurements; None where nothing is known."""
    with reachable():
        found: Any = redis.hmget(_key(model), "work", "seconds")
    work, seconds = (float(value or 0) for value in found)
    return work / seconds if seconds > 0 else None


def _key(model: str) -> str:
    return f"es:speed:{model}"
