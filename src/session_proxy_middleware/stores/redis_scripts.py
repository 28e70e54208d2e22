"""What a Redis server does in one step: nothing comes between."""

from __future__ import annotations

REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
if KEYS[2] then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4]) end
return 1
"""
"""Compare and set: of `KEYS[1]`, and then the score in `KEYS[2]`, if there is one."""

FORGET = """
local old = redis.call(
    'ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, name in ipairs(old) do
    redis.call('DEL', ARGV[3] .. name)
    for i = 1, 3 do redis.call('ZREM', KEYS[i], name) end
end
"""
"""Sessions that ended before `ARGV[1]`, `ARGV[2]` of them at most."""

RESTORE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSETNX', KEYS[5], ARGV[1], 1)
redis.call('SET', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
if ARGV[5] then redis.call('ZADD', KEYS[4], ARGV[5], ARGV[2]) end
return 1
"""
"""A session, where there is none of its name, and its service."""

NOTE = """
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('ZADD', KEYS[2], 'GT', ARGV[1], ARGV[2])
end
"""
"""A time, later than the last, for what is still there."""

PUT_KEY = """
if redis.call('EXISTS', KEYS[1]) + redis.call('HEXISTS', KEYS[2], ARGV[1]) > 0 then
    return 0
end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
if ARGV[4] then redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1]) end
return 1
"""
"""A key, where its digest and id are new."""

REMOVE_KEY = """
local digest = redis.call('HGET', KEYS[1], ARGV[1])
if not digest then return 0 end
redis.call('DEL', ARGV[2] .. digest)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
"""
"""A key and whatever is kept of it."""
