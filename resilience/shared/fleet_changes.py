"""Fleet changes: what operators have said to all gateways of a fleet, as it stands in the shared store; pure.

The store holds the present state and no log: one entry for each thing, the last one, which has all that was said of the
thing since it was last taken back. A thing is ``services/NAME``, ``routes`` or ``commands/KEY``. So it is bounded, and
whoever comes late has all of it.

An entry is signed with a secret of the fleet: who can write to the store and does not have it can steer nothing. It has
a number, higher than that of every entry before it; one that is not higher than what is known of its thing is old, or
said again, and changes nothing. Entries that the store has lost are put back by whoever knows them.

Writers go by a token that each write changes: a writer that does not know the present one must read first.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ..errors import ConfigError
from .store import OURS, Script

#: Things of which the store holds something, at most.
MOST: Final = 512
#: Bytes of an entry, at most.
MOST_BYTES: Final = 128 * 1024
#: Patches of one thing that no single patch says, at most.
_MOST_PATCHES: Final = 16
#: The number of the last entry there can be.
_LAST: Final = 1 << 53

#: KEYS: the entries, a hash by thing; the token; the reports of gateways, a hash by name; their last times, a sorted
#: set. ARGV: the token that is known; this gateway; its report, or nothing if it has not changed; MOST; how many bytes
#: all entries may have together; how many seconds a gateway is remembered; whether it leaves (1).
#: Returns the time, the token, whether the report is there, and, if the token is another one than is known, the entries
#: by thing, one after the other; or a single number: there is too much.
READ: Final = Script(OURS + """\
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
if ARGV[7] == '1' then
  ours('ZREM', KEYS[4], ARGV[2])
  ours('HDEL', KEYS[3], ARGV[2])
else
  ours('ZADD', KEYS[4], now, ARGV[2])
  if ARGV[3] ~= '' then ours('HSET', KEYS[3], ARGV[2], ARGV[3]) end
  for _, gone in ipairs(ours('ZRANGEBYSCORE', KEYS[4], '-inf', string.format('%.6f', now - ARGV[6]))) do
    ours('ZREM', KEYS[4], gone)
    ours('HDEL', KEYS[3], gone)
  end
end
local token = string.match(ours('GET', KEYS[2]) or '', '^%x+$') or ''
local answer = {now, token, ours('HEXISTS', KEYS[3], ARGV[2])}
if token == ARGV[1] and token ~= '' then return answer end
if ours('HLEN', KEYS[1]) > tonumber(ARGV[4]) then return {now, token, answer[3], -1} end
local left = tonumber(ARGV[5])
for _, thing in ipairs(ours('HKEYS', KEYS[1])) do
  left = left - ours('HSTRLEN', KEYS[1], thing)
  if left < 0 then return {now, token, answer[3], -1} end
  answer[#answer + 1] = thing
  answer[#answer + 1] = ours('HGET', KEYS[1], thing)
end
return answer
""")
#: KEYS: the entries; the token. ARGV: the token that is known; the next one; MOST; things and their entries.
#: Returns 1; or 0: somebody else has written; or -1: there are too many.
WRITE: Final = Script(OURS + """\
if (string.match(ours('GET', KEYS[2]) or '', '^%x+$') or '') ~= ARGV[1] then return 0 end
local more = 0
for i = 4, #ARGV, 2 do more = more + 1 - ours('HEXISTS', KEYS[1], ARGV[i]) end
if ours('HLEN', KEYS[1]) + more > tonumber(ARGV[3]) then return -1 end
for i = 4, #ARGV, 2 do ours('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[2], ARGV[2])
return 1
""")
#: KEYS: the reports; the last times of gateways. ARGV: bytes of a report, at most.
#: Returns the time, and for each gateway its name, its last time and its report.
REPORTS: Final = Script(OURS + """\
local time = redis.call('TIME')
local answer = {string.format('%.6f', time[1] + time[2] / 1000000)}
local seen = ours('ZREVRANGE', KEYS[2], 0, 999, 'WITHSCORES')
for i = 1, #seen, 2 do
  answer[#answer + 1] = seen[i]
  answer[#answer + 1] = seen[i + 1]
  local is_small = ours('HSTRLEN', KEYS[1], seen[i]) <= tonumber(ARGV[1])
  answer[#answer + 1] = is_small and ours('HGET', KEYS[1], seen[i]) or ''
end
return answer
""")


@attrs.frozen(kw_only=True)
class Entry:
    """What operators have said of one thing.

    Attributes:
        thing: ``services/NAME``, ``routes`` or ``commands/KEY``.
        number: Higher than that of every entry before.
        since: The number of the first one of which it has all that was said; what was said before was taken back.
        when: Seconds since 1970, by the store's clock.
        by: Who said the last of it, and where.
        patches: Merge patches (RFC 7396) of the thing, one after the other; of nothing else but services and routes.
        order: Of a command.
        is_withdrawn: It was taken back.
    """

    thing: str
    number: int
    since: int
    when: float
    by: str
    patches: tuple[Any, ...] = ()
    order: str | None = None
    is_withdrawn: bool = False


class UnauthenticError(Exception):
    """An entry was not written by a gateway of the fleet."""


class Signature:
    """Signs what gateways of a fleet write, and tells it from what others do.

    Args:
        secret: What all of its gateways know.
        place: What tells this fleet from others with the same secret: what is written there counts nowhere else.
    """

    def __init__(self, secret: bytes, place: str) -> None:
        self._secret, self._place = secret, place.encode()

    def signed(self, what: str, value: Any) -> str:
        """A *value* for JSON as text that is signed for *what* it is about."""
        text = json.dumps(value, separators=(",", ":"), sort_keys=True)
        return f"{self._sign(what, text)} {text}"

    def value(self, what: str, said: bytes) -> Any:
        """The value that was signed for *what* it is about.

        Raises:
            UnauthenticError: It was not.
        """
        if len(said) > MOST_BYTES:
            raise UnauthenticError
        sign, _, text = said.decode("utf-8", "replace").partition(" ")
        if not hmac.compare_digest(sign.encode(), self._sign(what, text).encode()):
            raise UnauthenticError
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise UnauthenticError from None

    def _sign(self, what: str, text: str) -> str:
        said = b"\0".join((b"resilience fleet", self._place, what.encode(), text.encode()))
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()


def written(entry: Entry, signature: Signature) -> str:
    """An *entry* as it is written.

    Raises:
        ConfigError: It is too large.
    """
    text = signature.signed(entry.thing, attrs.asdict(entry))
    if len(text.encode()) > MOST_BYTES:
        raise ConfigError(f"what is said to the fleet of {entry.thing} is larger than {MOST_BYTES} bytes; put it into "
                          "the file")
    return text


def read(thing: str, said: bytes, signature: Signature) -> Entry:
    """The entry that was written for a *thing*.

    Raises:
        UnauthenticError: It was not written by a gateway of the fleet.
    """
    value = signature.value(thing, said)
    try:
        entry = Entry(**{**value, "patches": tuple(value["patches"])})
    except (TypeError, KeyError, ValueError):
        raise UnauthenticError from None
    numbers = type(entry.number) is int and type(entry.since) is int and 0 < entry.since <= entry.number < _LAST
    if entry.thing != thing or not numbers or not isinstance(entry.by, str) or not isinstance(entry.when, float):
        raise UnauthenticError
    return entry


def next_number(known: Mapping[str, Entry]) -> int:
    """The number of the next entry after all that are *known*.

    Raises:
        ConfigError: There is none.
    """
    number = 1 + max((entry.number for entry in known.values()), default=0)
    if number >= _LAST:
        raise ConfigError("the fleet has no more numbers for what operators say; delete the fleet's keys in the store")
    return number


def patched(before: Entry | None, thing: str, patch: Any, *, number: int, when: float, by: str) -> Entry:
    """What is said of a *thing* by what was said *before* and then by another *patch*.

    Raises:
        ConfigError: It is too much.
    """
    if before is None or not before.patches:
        return Entry(thing=thing, number=number, since=number, when=when, by=by, patches=(patch,))
    patches = before.patches
    try:
        patches = (*patches[:-1], composed(patches[-1], patch))
    except _TwoPatchesError:
        if len(patches) >= _MOST_PATCHES:
            raise ConfigError(f"too much was said to the fleet of {thing}; withdraw it, or put it into the file"
                              ) from None
        patches = (*patches, patch)
    return attrs.evolve(before, number=number, when=when, by=by, patches=patches)


class _TwoPatchesError(Exception):
    pass


def composed(first: Any, then: Any) -> Any:
    """One merge patch that does what two do, one after the other.

    Raises:
        _TwoPatchesError: There is none: the second adds to a table that the first one has put in the place of another.
    """
    if not isinstance(then, dict):
        return then
    if not isinstance(first, dict):
        raise _TwoPatchesError
    result = dict(first)
    for name, value in then.items():
        result[name] = composed(result[name], value) if name in result else value
    return result


def _rank(entry: Entry) -> tuple[Any, ...]:
    """Which entry of a thing is the later one; a store that fails over may have given one number twice."""
    return entry.number, entry.when, repr(entry)


def news(found: Sequence[tuple[str, bytes]], known: Mapping[str, Entry], signature: Signature) -> tuple[
        list[Entry], list[str], list[str]]:
    """What the store says that is not *known*.

    Args:
        found: The entries of the store, by thing.
        known: The newest entries that were seen so far, by thing.
        signature: Of the fleet.

    Returns:
        The entries that are newer, the oldest first; the things that the store has lost, or has something older of; the
        things of which it has something that no gateway of the fleet wrote.
    """
    newer, ranks, foreign = [], dict[str, tuple[Any, ...]](), []
    for thing, said in found:
        try:
            entry = read(thing, said, signature)
        except UnauthenticError:
            foreign.append(thing)
            continue
        ranks[thing] = _rank(entry)
        if thing not in known or _rank(entry) > _rank(known[thing]):
            newer.append(entry)
    lost = [thing for thing, entry in known.items() if thing not in ranks or ranks[thing] < _rank(entry)]
    return sorted(newer, key=lambda entry: (entry.number, entry.thing)), lost, foreign
