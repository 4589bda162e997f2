"""RegistryRecords: where service registries keep their list together, in Redis or Valkey; see records.py there.

Each instance is a key with a time to live, ``PREFIX`` and ``record:`` and its name. A sorted set, ``log``, has the
number of the last write of each: what has changed since a number is one question. ``state`` has the last number, and a
token that the store loses when it is wiped; ``whole`` is there while a registry that has everything looks after it.

Somebody else may write to these keys, too. A record that is none, whatever its type, is told as one, so that it is
shown as a mistake, and gives way when its instance is written. A ``state`` that cannot be meant is made anew, above the
numbers of the log; a log that cannot be meant is as good as a store that was wiped, and all is written again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..discovery.registry.records import News, Place, Record, RecordsRefusedError, Write, Written
from ..discovery.registry.storage import MOST_INSTANCE_BYTES
from ..registry import Registry
from ..shared.connection import CONNECT_S, Connection
from ..shared.redis_client import StoreAddress
from ..shared.store import OURS, Script, StoreRefusalError
from .config.shared import RegistryStoreSettings

#: Seconds for which a list is known to be whole after a registry has last looked; renewals that were missed in that
#: time do not end a lease of the usual length.
WHOLE_S: Final = 30
#: Records that are told at a time.
_MOST: Final = 250
_MOST_COPY_BYTES: Final = 8192

#: The number of the last write; nil if that is none which could be meant.
_NUMBER: Final = """\
local LAST = 4503599627370496
local function number_of(state)
  local number = tonumber(ours('HGET', state, 'number') or 0)
  if number and number >= 0 and number <= LAST and number % 1 == 0 then return number end
end
"""
#: KEYS: state; log; whole. ARGV: the prefix of records; this registry; the token that is known; the number up to which
#: was read; a new token; whether it vouches for all (1); whether its own records are asked for (1); WHOLE_S; how many
#: records; bytes of a copy.
#: Returns the token; the number up to which was read; whether from the beginning; whether there is everything; whether
#: there is more; and for each record its name, its age in seconds, and its copy; an empty one, if it is no record.
#: Entries of the log whose records are no more leave it when they are met, or are the oldest.
NEWS: Final = Script(OURS + _NUMBER + """\
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local top = redis.pcall('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local highest = not top.err and math.ceil(tonumber(top[2]) or 0)
if not highest or highest > LAST then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  highest = 0
end
local token = ours('HGET', KEYS[1], 'token') or ''
if #token > 64 or not string.match(token, '^%x+$') then
  token = ARGV[5]
  redis.call('HSET', KEYS[1], 'token', token)
end
local number = number_of(KEYS[1])
if not number or number < highest then
  number = math.max(number or 0, highest)
  redis.call('HSET', KEYS[1], 'number', string.format('%.0f', number))
end
if redis.call('TTL', KEYS[1]) < 86400 then redis.call('EXPIRE', KEYS[1], 172800) end
local since = tonumber(ARGV[4])
local starts = token ~= ARGV[3] or number < since
if starts then since = 0 elseif ARGV[6] == '1' then redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[8]) end
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, 9)) do
  if redis.call('EXISTS', ARGV[1] .. name) == 0 then redis.call('ZREM', KEYS[2], name) end
end
local found = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', since), '+inf', 'WITHSCORES',
                         'LIMIT', 0, ARGV[9])
local last = #found > 0 and tonumber(found[#found]) or since
local answer = {token, string.format('%.0f', last), starts and 1 or 0, ours('GET', KEYS[3]) and 1 or 0,
                #found == 2 * ARGV[9] and 1 or 0}
for i = 1, #found, 2 do
  local key = ARGV[1] .. found[i]
  local record = redis.pcall('HMGET', key, 'by', 'at')
  local by, at = record[1], record[2]
  if not by and not record.err then
    redis.call('ZREM', KEYS[2], found[i])
  elseif by ~= ARGV[2] or starts or ARGV[7] == '1' then
    local is_small = by and redis.call('HSTRLEN', key, 'copy') <= tonumber(ARGV[10])
    answer[#answer + 1] = found[i]
    answer[#answer + 1] = string.format('%.3f', now - (tonumber(at or nil) or now))
    answer[#answer + 1] = is_small and redis.call('HGET', key, 'copy') or ''
  end
end
return answer
""")
#: ARGV: the prefix of records; bytes of an instance; names of records.
#: Returns the name, the age in seconds, the copy and the instance of each that is there.
READ: Final = Script("""\
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local answer = {}
for i = 3, #ARGV do
  local key = ARGV[1] .. ARGV[i]
  local record = redis.pcall('HMGET', key, 'at', 'copy')
  local at, copy = record[1], record[2]
  if at and copy and redis.call('HSTRLEN', key, 'instance') <= tonumber(ARGV[2]) then
    answer[#answer + 1] = ARGV[i]
    answer[#answer + 1] = string.format('%.3f', now - (tonumber(at) or now))
    answer[#answer + 1] = copy
    answer[#answer + 1] = redis.call('HGET', key, 'instance') or ''
  end
end
return answer
""")
#: KEYS: state; log. ARGV: the prefix of records; this registry; the token that is known; the number up to which was
#: read; and for each record its name, its time to live in milliseconds, its version, its copy, whether an instance
#: follows (1), and that.
#: Returns what has become of each; see Written.
WRITE: Final = Script(OURS + _NUMBER + """\
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
local answer = {}
local last = number_of(KEYS[1])
local is_known = last and ours('HGET', KEYS[1], 'token') == ARGV[3] and type(redis.pcall('ZCARD', KEYS[2])) == 'number'
local longest = 0
for i = 5, #ARGV, 6 do
  local name, key = ARGV[i], ARGV[1] .. ARGV[i]
  local by, version, number
  if is_known then
    by, version = unpack(ours('HMGET', key, 'by', 'version'))
    number = tonumber(redis.call('ZSCORE', KEYS[2], name) or 0)
  end
  if not is_known or (by and by ~= ARGV[2] and number > tonumber(ARGV[4])) then
    answer[#answer + 1] = 0
  elseif ARGV[i + 4] ~= '1' and version ~= ARGV[i + 2] then
    answer[#answer + 1] = 2
  else
    redis.call('HSET', key, 'by', ARGV[2], 'at', now, 'version', ARGV[i + 2], 'copy', ARGV[i + 3])
    if ARGV[i + 4] == '1' then redis.call('HSET', key, 'instance', ARGV[i + 5]) end
    redis.call('PEXPIRE', key, ARGV[i + 1])
    number = redis.call('HINCRBY', KEYS[1], 'number', 1)
    redis.call('ZADD', KEYS[2], string.format('%.0f', number), name)
    longest = math.max(longest, tonumber(ARGV[i + 1]))
    answer[#answer + 1] = 1
  end
end
for _, key in ipairs({KEYS[1], KEYS[2]}) do
  local least = math.max(longest, 86400000)
  if longest > 0 and redis.call('PTTL', key) < least then
    redis.call('PEXPIRE', key, string.format('%.0f', 2 * least))
  end
end
return answer
""")


class RegistryRecords:
    """The records in one server; Records. For one event loop.

    Args:
        settings: How they are kept.
        address: Where they are.
    """

    def __init__(self, settings: RegistryStoreSettings, address: StoreAddress) -> None:
        self._prefix, self._name = settings.prefix, ""
        self._connection = Connection(
            lambda: address.client(name="resilience:registry", connect_s=CONNECT_S), place=settings.url,
            name="registry", prefix=settings.prefix, timeout_s=settings.timeout, registry=Registry())

    @property
    def is_connected(self) -> bool:
        """See Records."""
        return self._connection.is_connected

    def start(self, name: str) -> None:
        """See Records."""
        self._name = name
        self._connection.start()

    def follow(self, told: Callable[[bool], object]) -> None:
        """See Records."""
        self._connection.follow(told)

    async def news(self, place: Place, *, everything: bool, vouches: bool) -> News:
        """See Records."""
        token, number, is_from_start, is_whole, has_more, *found = await self._ask(
            NEWS, [self._prefix + each for each in ("state", "log", "whole")],
            (self._of_record, self._name, place.token, place.number, secrets.token_hex(8), int(vouches),
             int(everything), WHOLE_S, _MOST, _MOST_COPY_BYTES))
        records = [Record(_text(found[index]), _seconds(found[index + 1]), found[index + 2])
                   for index in range(0, len(found), 3)]
        return News(Place(_text(token), int(number)), bool(is_from_start), bool(is_whole), bool(has_more), records)

    async def read(self, names: Sequence[str]) -> Sequence[Record]:
        """See Records."""
        found = await self._ask(READ, (), (self._of_record, MOST_INSTANCE_BYTES, *names))
        return [Record(_text(found[index]), _seconds(found[index + 1]), found[index + 2], found[index + 3])
                for index in range(0, len(found), 4)]

    async def write(self, place: Place, writes: Sequence[Write]) -> Sequence[Written]:
        """See Records."""
        said: list[Any] = []
        for each in writes:
            said += [each.name, max(1, int(each.lease_s * 1000)), each.version, each.copy,
                     int(each.instance is not None), each.instance or b""]
        answer = await self._ask(WRITE, [self._prefix + each for each in ("state", "log")],
                                 (self._of_record, self._name, place.token, place.number, *said))
        return [Written(each) for each in answer]

    def report(self) -> Mapping[str, Any]:
        """See Records."""
        told = self._connection.report()
        return {name: told[name] for name in ("place", "is_connected", "trouble", "losses", "round_trips")}

    def close(self) -> None:
        """See Records."""
        self._connection.close()

    async def closed(self) -> None:
        """See Records."""
        await self._connection.closed()

    async def _ask(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await self._connection.run(script, keys, arguments)
        except StoreRefusalError as error:
            raise RecordsRefusedError(str(error)) from None

    @property
    def _of_record(self) -> str:
        return f"{self._prefix}record:"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _seconds(value: bytes) -> float:
    return float(value)
