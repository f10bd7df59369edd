"""Deliveries that wait or are under way, in Redis: taken with a lease, in lines by tenant and host.

`es:hooks:lanes` is a zset of lanes by when the first delivery of each is due, `es:hooks:lane:…` one of a lane's
deliveries. A delivery that is taken stays in its lane and is due again when its lease runs out, so that a sender
that dies loses nothing and nobody has to look for what it held. One slow host fills its own lane and nobody else's:
what is under way is counted for each host and each tenant, and a lane at a limit steps back for a quarter second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from worker.deliveries import Delivery

_NOW = "local t = redis.call('TIME'); local now = tonumber(t[1]) + tonumber(t[2]) / 1e6\n"

PLAN = """
-- Puts deliveries into their lanes, due now, unless they are there already. `text`: JSON [{id, lane, doc}] or ''.
-- An error here stops the script, so it must be called before the record says that its event has happened.
local function plan(text)
  if text == '' then return end
  local t = redis.call('TIME')
  local due = tonumber(t[1]) + tonumber(t[2]) / 1e6
  for _, one in ipairs(cjson.decode(text)) do
    if redis.call('EXISTS', 'es:hook:' .. one.id) == 0 then
      redis.call('HSET', 'es:hook:' .. one.id, 'doc', one.doc, 'lane', one.lane)
      redis.call('ZADD', 'es:hooks:lane:' .. one.lane, due, one.id)
      redis.call('ZADD', 'es:hooks:lanes', 'LT', due, one.lane)
    end
  end
end
"""
_AT_ONCE = (
    _NOW
    + """
-- ARGV: id -> 1 when the delivery waits and is due now, or is under way; 0 when it has ended
local doc, lane = unpack(redis.call('HMGET', 'es:hook:' .. ARGV[1], 'doc', 'lane'))
if not doc or cjson.decode(doc)['status'] ~= 'pending' then return 0 end
if not redis.call('HGET', 'es:hook:' .. ARGV[1], 'taken') then
  redis.call('ZADD', 'es:hooks:lane:' .. lane, now, ARGV[1])
  redis.call('ZADD', 'es:hooks:lanes', 'LT', now, lane)
end
return 1
"""
)
_AGAIN = (
    _NOW
    + """
-- ARGV: id, doc, lane, number -> nothing. Lets an ended delivery wait again, and takes it from a sender that has
-- yet to drop it: the token is above all those before. One that was asked for as often already stays as it is.
local hook = 'es:hook:' .. ARGV[1]
local known = redis.call('HGET', hook, 'doc')
if known and cjson.decode(known)['number'] >= tonumber(ARGV[4]) then return end
local tenant, host = string.match(ARGV[3], '^(.*) (%S+)$')
redis.call('ZREM', 'es:hooks:host:' .. host, ARGV[1])
redis.call('ZREM', 'es:hooks:tenant:' .. tenant, ARGV[1])
redis.call('HINCRBY', hook, 'token', tonumber(ARGV[4]) * 1000000)
redis.call('HDEL', hook, 'taken')
redis.call('HSET', hook, 'doc', ARGV[2], 'lane', ARGV[3])
redis.call('ZADD', 'es:hooks:lane:' .. ARGV[3], now, ARGV[1])
redis.call('ZADD', 'es:hooks:lanes', 'LT', now, ARGV[3])
"""
)
_TAKE = (
    _NOW
    + """
-- ARGV: most, lease seconds, most of a host, most of a tenant -> {doc, token, doc, token …}
local most, found = tonumber(ARGV[1]), {}
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', 'es:hooks:lanes', '-inf', now, 'LIMIT', 0, 256)) do
  if #found >= 2 * most then break end
  local waiting = 'es:hooks:lane:' .. lane
  local tenant, host = string.match(lane, '^(.*) (%S+)$')
  local busy = {['es:hooks:host:' .. host] = tonumber(ARGV[3]), ['es:hooks:tenant:' .. tenant] = tonumber(ARGV[4])}
  local room, limit = most - #found / 2, 1e9
  for key, cap in pairs(busy) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    limit = math.min(limit, cap - redis.call('ZCARD', key))
  end
  local some = math.max(0, math.min(room, limit))
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, some)) do
    local doc = redis.call('HGET', 'es:hook:' .. id, 'doc')
    if doc then
      local ends = now + tonumber(ARGV[2])
      local token = redis.call('HINCRBY', 'es:hook:' .. id, 'token', 1)
      redis.call('HSET', 'es:hook:' .. id, 'taken', '1')
      redis.call('ZADD', waiting, ends, id)
      for key in pairs(busy) do
        redis.call('ZADD', key, ends, id)
        redis.call('EXPIRE', key, 2 * tonumber(ARGV[2]))
      end
      found[#found + 1] = doc
      found[#found + 1] = token
    else
      redis.call('ZREM', waiting, id)
    end
  end
  local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  if #first == 0 then redis.call('ZREM', 'es:hooks:lanes', lane)
  elseif tonumber(first[2]) > now then redis.call('ZADD', 'es:hooks:lanes', first[2], lane)
  elseif limit <= room then redis.call('ZADD', 'es:hooks:lanes', now + 0.25, lane) end
end
return found
"""
)
_SETTLE = (
    _NOW
    + """
-- ARGV: id, token, doc or '' (it is over), seconds until the next try or '' (it stays taken)
-- -> 1, or 0 for an old token
local hook = 'es:hook:' .. ARGV[1]
local known = redis.call('HMGET', hook, 'token', 'lane')
if known[1] ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' and ARGV[4] == '' then redis.call('HSET', hook, 'doc', ARGV[3]) return 1 end
local waiting = 'es:hooks:lane:' .. known[2]
local tenant, host = string.match(known[2], '^(.*) (%S+)$')
redis.call('ZREM', 'es:hooks:host:' .. host, ARGV[1])
redis.call('ZREM', 'es:hooks:tenant:' .. tenant, ARGV[1])
if ARGV[3] == '' then
  redis.call('DEL', hook)
  redis.call('ZREM', waiting, ARGV[1])
else
  redis.call('HSET', hook, 'doc', ARGV[3])
  redis.call('HDEL', hook, 'taken')
  redis.call('ZADD', waiting, now + tonumber(ARGV[4]), ARGV[1])
end
local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
if #first == 0 then redis.call('ZREM', 'es:hooks:lanes', known[2])
else redis.call('ZADD', 'es:hooks:lanes', first[2], known[2]) end
return 1
"""
)
_BACKLOG = (
    _NOW
    + """
local count = 0
local lanes = redis.call('ZRANGE', 'es:hooks:lanes', 0, -1, 'WITHSCORES')
for at = 1, #lanes, 2 do count = count + redis.call('ZCARD', 'es:hooks:lane:' .. lanes[at]) end
return {count, tostring(math.max(0, now - tonumber(lanes[2] or now)))}
"""
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery under a lease; `token` tells this taking from any later one."""

    delivery: Delivery
    token: int


def planned(deliveries: Sequence[Delivery]) -> str:
    """What `plan` takes: a script's argument."""
    if not deliveries:
        return ""
    docs = [{"id": one.id, "lane": one.lane, "doc": one.model_dump_json()} for one in deliveries]
    return to_json(docs).decode()


def plan_again(redis: Redis, delivery: Delivery) -> None:
    """Lets a delivery that has ended, and whose outcome is in storage, be told once more. Raises RedisError."""
    args: list[str | int] = [delivery.id, delivery.model_dump_json(), delivery.lane, delivery.number]
    redis.register_script(_AGAIN)(keys=[], args=args)


def plan_at_once(redis: Redis, delivery_id: str) -> bool:
    """Makes a waiting delivery due now; False when none of that id waits or is under way. Raises RedisError."""
    return bool(redis.register_script(_AT_ONCE)(keys=[], args=[delivery_id]))


def waiting(redis: Redis, delivery_ids: Sequence[str]) -> list[Delivery]:
    """Those that wait or are under way. Raises RedisError."""
    if not delivery_ids:
        return []
    pipe = redis.pipeline(transaction=False)
    for one in delivery_ids:
        pipe.hget(f"es:hook:{one}", "doc")
    docs: list[Any] = pipe.execute()
    return [Delivery.model_validate_json(doc) for doc in docs if doc is not None]


def backlog(redis: Redis) -> tuple[int, float]:
    """How many deliveries wait or are under way, and how long the first has been due, seconds. Raises RedisError."""
    found: Any = redis.register_script(_BACKLOG)(keys=[], args=[])
    return int(found[0]), float(found[1])


class DeliveryQueue:
    """What a sender takes deliveries from. Every method raises RedisError."""

    def __init__(
        self, redis: AsyncRedis, *, lease_seconds: float, host_limit: int, tenant_limit: int
    ) -> None:
        self._lease = max(1, round(lease_seconds))
        self._limits = (host_limit, tenant_limit)
        self._take: Any = redis.register_script(_TAKE)
        self._settle: Any = redis.register_script(_SETTLE)

    async def take(self, most: int) -> list[Taken]:
        """Up to so many that are due, each ours until its lease runs out."""
        found = await self._take(keys=[], args=[most, self._lease, *self._limits])
        pairs = zip(found[::2], found[1::2], strict=True)
        return [Taken(Delivery.model_validate_json(doc), int(token)) for doc, token in pairs]

    async def put_back(self, taken: Taken, delivery: Delivery, *, seconds: float) -> bool:
        """Lets it wait until its next try; False when the lease was lost."""
        args = [delivery.id, taken.token, delivery.model_dump_json(), seconds]
        return bool(await self._settle(keys=[], args=args))

    async def note(self, taken: Taken, delivery: Delivery) -> bool:
        """Says how it ended while it stays ours; False when the lease was lost."""
        args = [delivery.id, taken.token, delivery.model_dump_json(), ""]
        return bool(await self._settle(keys=[], args=args))

    async def drop(self, taken: Taken) -> bool:
        """It is over, and its outcome is in storage; False when the lease was lost."""
        return bool(await self._settle(keys=[], args=[taken.delivery.id, taken.token, "", ""]))
