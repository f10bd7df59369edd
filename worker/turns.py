"""Whose turn it is: each tenant has a line of its own, and the lines take turns.

An entry waits in one of two places: in RQ's own list, which goes before everything (steps that end something, and
what a dead worker held), or in its tenant's line. Whoever takes an entry takes the first of the tenant whose turn is
next. Turns are numbered: a tenant that was served has the next number after its last, behind whoever has that
already; one that comes anew has the number that is being served. So it waits for no second entry of anybody, between
two entries of one tenant every other tenant that waits is served once, and sending entries one by one gains nothing.
This is start-time fair queueing (Goyal, Vin, Cheng 1996) with entries of one size.

Which line an entry is in stands in its own hash (`tenant`), so that its id is enough to find it. Every move is one
script.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis import Redis

from worker.redis_client import ScriptCall

# Shared by every script that moves an entry. es:turns: tenant → number of its next turn, and in the fraction its
# place among those who have that number; a tenant is there exactly while its line holds something. es:turn: the
# number that was served last. es:served: tenant → the least number of its next turn, where that is not over. While
# nothing waits, there is none of them.
LINES = """
local function line(queue, tenant) return 'es:line:' .. queue .. ':' .. tenant end
local function turns(queue) return 'es:turns:' .. queue end
local function give_turn(queue, tenant, number)
  local last = redis.call('ZREVRANGEBYSCORE', turns(queue), '(' .. number + 1, number, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  redis.call('ZADD', turns(queue), last and tonumber(last) + 1 / 1048576 or number, tenant)
end
local function come(queue, tenant)
  if redis.call('ZSCORE', turns(queue), tenant) then return end
  local first = redis.call('ZRANGE', turns(queue), 0, 0, 'WITHSCORES')[2]
  local number = tonumber(redis.call('GET', 'es:turn:' .. queue) or math.floor(tonumber(first or 0)))
  local least = tonumber(redis.call('ZSCORE', 'es:served:' .. queue, tenant) or 0)
  give_turn(queue, tenant, math.max(number, least))
end
local function go(queue, tenant)
  if redis.call('EXISTS', line(queue, tenant)) == 0 then redis.call('ZREM', turns(queue), tenant) end
  if redis.call('EXISTS', turns(queue)) == 0 then redis.call('DEL', 'es:turn:' .. queue, 'es:served:' .. queue) end
end
local function join(queue, tenant, id)
  redis.call('RPUSH', line(queue, tenant), id)
  come(queue, tenant)
end
local function pop(queue)
  local first = redis.call('ZRANGE', turns(queue), 0, 0, 'WITHSCORES')
  if not first[1] then return nil end
  return redis.call('LPOP', line(queue, first[1])) or '', first[1], math.floor(tonumber(first[2]))
end
local function served(queue, tenant, number)
  redis.call('SET', 'es:turn:' .. queue, number)
  redis.call('ZADD', 'es:served:' .. queue, number + 1, tenant)
  redis.call('ZREMRANGEBYSCORE', 'es:served:' .. queue, '-inf', number)
  give_turn(queue, tenant, number + 1)
  go(queue, tenant)
end
local function leave(queue, tenant, id)
  local removed = redis.call('LREM', line(queue, tenant), 0, id)
  go(queue, tenant)
  return removed
end
"""
_ADD = (
    LINES
    + """
-- KEYS: list of RQ, entry hash, RQ's set of queues
-- ARGV: queue, entry id, tenant, 1: before everything, fields of the hash … -> 1: added, 0: known already
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('HSET', KEYS[2], 'tenant', ARGV[3], unpack(ARGV, 5))
redis.call('SADD', KEYS[3], KEYS[1])
if ARGV[4] == '1' then redis.call('LPUSH', KEYS[1], ARGV[2]) else join(ARGV[1], ARGV[3], ARGV[2]) end
return 1
"""
)
_REMOVE = (
    LINES
    + """
-- KEYS: list of RQ, entry hash, leases ; ARGV: queue, entry id -> 1 when it was still waiting and is gone now
if redis.call('ZSCORE', KEYS[3], ARGV[2]) then return 0 end
local tenant = redis.call('HGET', KEYS[2], 'tenant')
local removed = redis.call('LREM', KEYS[1], 0, ARGV[2])
if tenant then removed = removed + leave(ARGV[1], tenant, ARGV[2]) end
if removed == 0 then return 0 end
redis.call('DEL', KEYS[2])
return 1
"""
)
_REJOIN = (
    LINES
    + """
-- KEYS: list of RQ, entry hash, leases ; ARGV: queue, entry id, tenant
-- -> -1: no such entry; 0: it waits or is leased; 1: it did neither, and waits again
if redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
if redis.call('ZSCORE', KEYS[3], ARGV[2]) or redis.call('LPOS', KEYS[1], ARGV[2]) then return 0 end
local tenant = redis.call('HGET', KEYS[2], 'tenant')
if tenant and redis.call('LPOS', line(ARGV[1], tenant), ARGV[2]) then
  come(ARGV[1], tenant) -- no change, unless somebody has deleted the turns
  return 0
end
redis.call('HSET', KEYS[2], 'tenant', ARGV[3])
join(ARGV[1], ARGV[3], ARGV[2])
return 1
"""
)
_PLACE = (
    LINES
    + """
-- KEYS: list of RQ, entry hash ; ARGV: queue, entry id -> how many entries go before it, or false
local first = redis.call('LPOS', KEYS[1], ARGV[2])
if first then return first end
local tenant = redis.call('HGET', KEYS[2], 'tenant')
-- looked for from the end: most are asked about when they have just come
local own = tenant and redis.call('LPOS', line(ARGV[1], tenant), ARGV[2], 'RANK', -1)
if not own then return false end
local before = redis.call('LLEN', KEYS[1]) + own
local mine = tonumber(redis.call('ZSCORE', turns(ARGV[1]), tenant) or 0)
local when = math.floor(mine) + own -- the number of the turn in which it will be taken
local order = redis.call('ZRANGE', turns(ARGV[1]), 0, -1, 'WITHSCORES')
for at = 1, #order, 2 do
  local other, theirs = order[at], tonumber(order[at + 1])
  local first = math.floor(theirs)
  if other ~= tenant and first <= when then
    local is_ahead = first > math.floor(mine) or (first == math.floor(mine) and theirs < mine)
    local turns_before = when - first + (is_ahead and 1 or 0)
    before = before + math.min(redis.call('LLEN', line(ARGV[1], other)), turns_before)
  end
end
return before
"""
)
_LENGTHS = (
    LINES
    + """
-- KEYS: list of RQ ; ARGV: queue, tenant -> entries that wait in all, entries in the tenant's line
local all = redis.call('LLEN', KEYS[1])
for _, tenant in ipairs(redis.call('ZRANGE', turns(ARGV[1]), 0, -1)) do
  all = all + redis.call('LLEN', line(ARGV[1], tenant))
end
return {all, redis.call('LLEN', line(ARGV[1], ARGV[2]))}
"""
)
_FIRSTS = (
    LINES
    + """
-- KEYS: list of RQ ; ARGV: queue -> when the first entry of each line was queued
local ids, found = {redis.call('LINDEX', KEYS[1], 0) or nil}, {}
for _, tenant in ipairs(redis.call('ZRANGE', turns(ARGV[1]), 0, -1)) do
  local first = redis.call('LINDEX', line(ARGV[1], tenant), 0)
  if first then ids[#ids + 1] = first end
end
for _, id in ipairs(ids) do
  local at = redis.call('HGET', 'rq:job:' .. id, 'enqueued_at')
  if at then found[#found + 1] = at end
end
return found
"""
)


def addition(
    redis: Redis,
    queue: str,
    entry_id: str,
    tenant: str,
    fields: Mapping[str, str | bytes | int],
    *,
    first: bool = False,
) -> ScriptCall:
    """Makes the entry and lets it wait: last in its tenant's line, or `first` of all. Answers 0 when it is known."""
    keys = [queue_key(queue), entry_key(entry_id), "rq:queues"]
    args: list[Any] = [queue, entry_id, tenant, int(first)]
    args += [part for field in fields.items() for part in field]
    return ScriptCall(redis.register_script(_ADD), keys, args)


def remove(redis: Redis, queue: str, entry_id: str) -> bool:
    """Takes a waiting entry away; False when it does not wait, or a worker has it."""
    keys = [queue_key(queue), entry_key(entry_id), LEASES]
    return bool(redis.register_script(_REMOVE)(keys=keys, args=[queue, entry_id]))


def rejoin(redis: Redis, queue: str, entry_id: str, tenant: str) -> bool | None:
    """Lets an entry wait that neither waits nor is leased; False when it does, None when there is no such entry."""
    keys = [queue_key(queue), entry_key(entry_id), LEASES]
    outcome: Any = redis.register_script(_REJOIN)(keys=keys, args=[queue, entry_id, tenant])
    return None if outcome == -1 else bool(outcome)


def place(redis: Redis, queue: str, entry_id: str) -> int | None:
    """How many of the entries that wait now will be taken before this one; None when it does not wait."""
    keys = [queue_key(queue), entry_key(entry_id)]
    found: Any = redis.register_script(_PLACE)(keys=keys, args=[queue, entry_id])
    return None if found is None else int(found)


def lengths(redis: Redis, queue: str, tenant: str = "") -> tuple[int, int]:
    """How many entries wait in all, and how many of them in the tenant's line."""
    found: Any = redis.register_script(_LENGTHS)(keys=[queue_key(queue)], args=[queue, tenant])
    return int(found[0]), int(found[1])


def firsts(redis: Redis, queue: str) -> list[str]:
    """When the first entry of each line was queued (ISO 8601), and the first of those before them all."""
    found: Any = redis.register_script(_FIRSTS)(keys=[queue_key(queue)], args=[queue])
    return [one.decode() for one in found]


LEASES = "es:leases"  # zset: entry id → when its lease runs out, by Redis' own clock


def queue_key(queue: str) -> str:
    """RQ's own list: what goes before every line."""
    return f"rq:queue:{queue}"


def entry_key(entry_id: str) -> str:
    return f"rq:job:{entry_id}"
