"""A peer: another registry that hears of what is accepted here, and is compared with. For one event loop.

Each peer has a queue, a time limit for each exchange, and a circuit breaker of its own, and is spoken to by a task of
its own: one that is slow, silent or wrong costs its own copy some time, and nobody else anything.

First of all, and every so often, and whenever it has been away, the two are compared, by the digests of the parts of
their tables. Where these differ, all that the peer knows is fetched and merged, and what is newer here is put into the
queue. In between, what changes is sent in batches. A registry of another make has no digests; its list is fetched when
this registry starts, and after it has been away all instances are renewed there, which shows what it lacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, TypeVar

import attrs

from ... import CircuitBreaker, CircuitOpenError, Registry, command
from ..one_line import one_line
from .change import Change
from .claims import ClaimRefusedError
from .copies import Merged
from .instance import InvalidInstanceError
from .instance_copy import MEMBER
from .instance_registry import InstanceRegistry
from .lease_table import PARTS, Key
from .moment import Moment
from .peer_items import Item, PeerAnswerError, PeerSays, answers_in, body_of, items_of
from .peer_queue import PeerQueue, Pending
from .peer_rest import MOST_PARTS
from .refusal import RefusedError

#: How long a change waits for others to be sent with, seconds.
GATHER_S: Final = 0.2
#: Waits after failures: the first, and the longest, seconds.
FIRST_WAIT_S: Final = 0.1
MOST_WAIT_S: Final = 5.0
#: Items of a batch that is sent: one of 250 registrations holds a peer up for 40 ms, and one of 50 for 8.
_MOST_SENT: Final = 50
#: A batch that has more bytes is sent without further items.
_MOST_BATCH_BYTES: Final = 1 << 20
_MOST_ANSWER_BYTES: Final = 8 << 20
_MOST_DIGEST_BYTES: Final = 64 << 10
_MOST_COPIES_BYTES: Final = 16 << 20
_MOST_LIST_BYTES: Final = 64 << 20
#: Copies that are merged before others have a turn.
_AT_ONCE: Final = 25
_ITSELF_S: Final = 60.0
#: A peer that has just started is compared so many times as often.
_SOONER: Final = 6
_MOST_SLEEP_S: Final = 3600.0
_T = TypeVar("_T")
_logger = logging.getLogger(__name__)

#: Sends a request to a path below a peer's base URL, and returns its status and its body, of so many bytes at most.
Ask = Callable[[str, str, bytes, int], Awaitable[tuple[int, bytes]]]


class PeerState(Enum):
    """What is known of a peer."""

    UNKNOWN = "unknown"
    UP = "up"
    FAILING = "failing"
    ITSELF = "itself"


@attrs.frozen(kw_only=True)
class PeerTerms:
    """How peers are dealt with.

    Attributes:
        timeout_s: Longest time for an exchange.
        compare_s: How often they are compared.
        most_queued: Instances that one has not heard of; with more, it is compared instead.
    """

    timeout_s: float = 5.0
    compare_s: float = 30.0
    most_queued: int = 20_000


class Peer:
    """One other registry.

    Attributes:
        url: Its base URL.
        queue: What it has not heard of.
        state: See PeerState.
        is_ours: Whether it is a registry like this one; None: not known yet.
        name: Its name, if it is.
        counts: What was sent, taken and refused, by name.
        error: Why the last exchange failed, or the last refusal of an item; empty: there was none.
        error_s: When that was.
        success_s: When the last exchange succeeded; None: never.
    """

    def __init__(self, url: str, registry: InstanceRegistry, ask: Ask, clock: Callable[[], Moment], terms: PeerTerms, *,
                 commands: Registry, complete: Callable[[str], None], random_: random.Random | None = None) -> None:
        """A peer; nothing is asked yet.

        Args:
            url: Its base URL, for messages.
            registry: This one.
            ask: Sends requests to it; may raise whatever it likes.
            clock: Returns the time.
            terms: How it is dealt with.
            commands: Where the command is that guards exchanges with it.
            complete: Called when all that a complete peer has is here, too.
            random_: For the jitter of waits.
        """
        self.url, self.queue, self._registry, self._clock, self._terms = \
            url, PeerQueue(terms.most_queued), registry, clock, terms
        self.state, self.is_ours, self.name = PeerState.UNKNOWN, None, ""
        self.counts: Counter[str] = Counter()
        self.error, self.error_s, self.success_s = "", -math.inf, None
        self._complete, self._random = complete, random.Random() if random_ is None else random_  # noqa: S311
        self._says = PeerSays(registry, url)
        self._work, self._compare_at, self._failures = asyncio.Event(), -math.inf, 0
        guarded = command(key=f"registry peer {url}", group="registry peers", timeout=terms.timeout_s,
                          max_concurrent=None, registry=commands, breaker=CircuitBreaker(
                              failure_rate=0.5, min_calls=4, window=20.0, open_for=2.0))
        self._guarded, self._ask = guarded(self._exchange), ask

    name: str
    is_ours: bool | None
    success_s: float | None

    @property
    def circuit(self) -> str:
        """The state of the circuit of exchanges with it."""
        return str(self._guarded.resilience.state)

    def lag_s(self, now: Moment) -> float:
        """For how long the oldest change has been waiting that it has not heard of."""
        since_s = self.queue.oldest_s()
        return 0.0 if since_s is None else max(0.0, now.s - since_s)

    def note(self, key: Key, change: Change) -> None:
        """It has to hear of a *change*."""
        if self.state is not PeerState.ITSELF:
            self.queue.add(key, change, self._clock().s)
            self._work.set()

    async def run(self) -> None:
        """Keep it told, for ever."""
        while True:
            try:
                if self._clock().s >= self._compare_at or (self.queue.has_overflowed and not len(self.queue)):
                    await self._compare()
                elif len(self.queue):
                    await self._send()
                self._failures = self._failures if len(self.queue) else 0
            except CircuitOpenError as error:
                await asyncio.sleep(min(max(error.retry_after or 0.0, FIRST_WAIT_S), MOST_WAIT_S))
                continue
            except Exception as error:  # noqa: BLE001 - a peer may fail in any way; it is shown, and tried again
                await self._failed(error)
                continue
            await self._rest()

    async def flush(self) -> None:
        """Tell it all that is queued; for the end. Raises whatever is in the way."""
        while self.state is PeerState.UP and len(self.queue):
            await self._send()

    async def _rest(self) -> None:
        """Wait until there is something to do."""
        if not len(self.queue):
            self._work.clear()
            wait_s = max(0.0, min(self._compare_at - self._clock().s, _MOST_SLEEP_S))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):  # and not wait_for(), which may swallow a cancellation
                    await self._work.wait()
        if len(self.queue) < _MOST_SENT:
            await asyncio.sleep(GATHER_S)

    def _is_up(self, next_s: float) -> None:
        """It has been compared, and is the next time at *next_s*."""
        if self.state is PeerState.FAILING:
            _logger.warning("the peer %s is there again", self.url)
        self.state, self._compare_at = PeerState.UP, next_s

    async def _failed(self, error: Exception) -> None:
        self._note_error(str(error) or type(error).__name__)
        if self.state is not PeerState.FAILING:
            _logger.warning("the peer %s does not hear of changes: %s", self.url, self.error)
        self.state, self._compare_at = PeerState.FAILING, -math.inf
        self._failures += 1
        self.counts["failed"] += 1
        wait_s: float = min(FIRST_WAIT_S * 2.0 ** min(self._failures - 1, 10), MOST_WAIT_S)
        await asyncio.sleep(wait_s * self._random.uniform(0.5, 1.0))

    def _note_error(self, text: str) -> None:
        self.error, self.error_s = one_line(text)[:300], self._clock().s

    async def _exchange(self, method: str, path: str, body: bytes, most: int, read: Callable[[int, bytes], _T]) -> _T:
        """Ask the peer, and *read* its answer; what cannot be read is a failure of the peer's, too."""
        status, content = await self._ask(method, path, body, most)
        found = read(status, content)
        self.success_s = self._clock().s
        return found

    # -- batches

    async def _send(self) -> None:
        """Send one batch."""
        now, left = self._clock(), list(self.queue.take(_MOST_SENT))
        taken, items, size = list[Pending](), list[Item](), 0
        while left and size < _MOST_BATCH_BYTES and len(items) < _MOST_SENT:
            taken.append(left.pop(0))
            found = list(items_of(self._registry, taken[-1], now, is_ours=bool(self.is_ours)))
            items += found
            size += sum(len(each.text) for each in found)
        self.queue.give_back(left)
        if not items:
            return
        try:
            answers = await self._guarded("POST", "/peerreplication/batch/", body_of(items), _MOST_ANSWER_BYTES,
                                          lambda status, body: _answers_in(status, body, len(items)))
        except _BatchRefusedError:  # to send it again would be refused again, for ever
            self.counts["lost"] += len(items)
            raise
        except BaseException:
            self.queue.give_back(taken)
            raise
        self.counts["sent"] += len(items)
        for item, answer in zip(items, answers, strict=True):
            self._heard(item, answer)

    def _heard(self, item: Item, answer: Mapping[str, Any]) -> None:
        """One item was answered."""
        status = answer["statusCode"]
        if status == HTTPStatus.NOT_FOUND and item.action == "Heartbeat":
            self.queue.add(item.key, Change.REGISTERED, self._clock().s)
        elif status == HTTPStatus.CONFLICT:
            self._take(lambda now: self._is_newer(item, answer, now))
        elif status >= HTTPStatus.BAD_REQUEST and not (status == HTTPStatus.NOT_FOUND and item.action == "Cancel"):
            self.counts["refused_there"] += 1
            self._note_error(f"it refuses {item.action} of {item.key[0]} {item.key[1]} with status {status}: "
                             f"{answer.get('error', '')}")

    def _is_newer(self, item: Item, answer: Mapping[str, Any], now: Moment) -> bool:
        entity, copy = answer.get("responseEntity"), answer.get(MEMBER)
        if not self.is_ours:
            return self._says.instance(entity, now)
        if not isinstance(copy, Mapping) or (copy.get("app"), copy.get("id")) != item.key:
            raise InvalidInstanceError("a copy of another instance than the one that was sent")
        return Merged.TAKEN in self._says.copy(copy, entity, now)[1]

    def _take(self, take: Callable[[Moment], bool]) -> None:
        """Take what the peer says of an instance, if it is acceptable, and count what has become of it."""
        try:
            self.counts["taken" if take(self._clock()) else "contradicted"] += 1
        except (InvalidInstanceError, ClaimRefusedError, RefusedError) as error:
            self.counts["refused_here"] += 1
            self._note_error(f"what it says of an instance is refused: {error}")

    # -- comparing

    async def _compare(self) -> None:
        """See in which parts the two differ, and bring them together."""
        digest = await self._guarded("GET", "/peerreplication/digest", b"", _MOST_DIGEST_BYTES, _digest_in)
        if digest is None:
            await self._compare_with_another_make()
            return
        self.name, is_complete, digests = digest
        self.is_ours = True
        if self.name == self._registry.name:
            self.state, self._compare_at = PeerState.ITSELF, self._clock().s + _ITSELF_S
            self.queue.clear()
            return
        self.queue.has_overflowed = False
        different = [part for part, theirs in enumerate(digests) if theirs != self._registry.table.digests[part]]
        self.counts["different_parts"] += len(different)
        while different:
            del different[:await self._compare_parts(different[:MOST_PARTS], is_complete)]
        self.counts["compared"] += 1
        self._is_up(self._clock().s + self._terms.compare_s / (1 if is_complete else _SOONER))
        if is_complete:
            self._complete(self.url)

    async def _compare_parts(self, parts: Sequence[int], is_complete: bool) -> int:
        """Merge what the peer has in the first of *parts*, and tell it what it lacks; how many parts these were."""
        path = f"/peerreplication/copies?parts={','.join(map(str, parts))}"
        told, pairs = await self._guarded("GET", path, b"", _MOST_COPIES_BYTES,
                                          lambda status, body: _copies_in(status, body, len(parts)))
        known: set[Key] = set()
        for index, (said, instance) in enumerate(pairs):
            self._merge(said, instance, known)
            if index % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        for part in parts[:told] if is_complete else ():  # else it is about to fetch all
            for lease in self._registry.table.of_part(part):
                if lease.key not in known and lease.ends_s > self._clock().s:
                    self.queue.add_found(lease.key, Change.REGISTERED, self._clock().s)
        return told

    def _merge(self, said: Any, instance: Any, known: set[Key]) -> None:
        """Take one copy; what is newer here, and everything that cannot be read, is not *known* to the peer."""

        def merged(now: Moment) -> bool:
            key, found = self._says.copy(said, instance, now)
            if Merged.OLDER in found:
                self.queue.add_found(key, Change.REGISTERED, now.s)
            known.add(key)
            return True

        self._take(merged)

    async def _compare_with_another_make(self) -> None:
        first = self.is_ours is not False
        self.is_ours, self.name = False, ""
        if first or not self._registry.is_complete:
            await self._take_list(await self._guarded("GET", "/apps/", b"", _MOST_LIST_BYTES, _instances_in))
        now = self._clock()
        for lease in self._registry.leases():
            self.queue.add_found(lease.key, Change.RENEWED, now.s)
        self.queue.has_overflowed = False  # what there was no room for is renewed in time, and found missing then
        self._is_up(math.inf)
        self._complete(self.url)

    async def _take_list(self, instances: Iterable[Any]) -> None:
        for index, said in enumerate(instances):
            self._take(lambda now, said=said: self._says.instance(said, now))  # type: ignore[misc]
            if index % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)


class _BatchRefusedError(PeerAnswerError):
    """A peer takes nothing of a batch."""


def _check(status: int) -> None:
    """Raise PeerAnswerError unless a peer has answered what it was asked for."""
    if status != HTTPStatus.OK:
        hint = " (is it sent a token that it has in [tokens] peers?)" if status in (401, 403) else ""
        raise PeerAnswerError(f"it answers with HTTP status {status}{hint}")


def _answers_in(status: int, body: bytes, count: int) -> Sequence[Mapping[str, Any]]:
    """The answers to the items of a batch."""
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        raise _BatchRefusedError(f"it refuses a batch with HTTP status {status}")
    _check(status)
    return answers_in(body, count)


def _copies_in(status: int, body: bytes, asked: int) -> tuple[int, Sequence[tuple[Any, Any]]]:
    """How many parts of those *asked* for are told, and their copies, each with its instance."""
    _check(status)
    try:
        said = json.loads(body)
        parts, copies = said.get("parts", asked), said["copies"]  # at first it was not said, for all were told
        if isinstance(copies, list) and type(parts) is int and 0 < parts <= asked:
            return parts, [(each[MEMBER], each["instance"]) for each in copies]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise PeerAnswerError("its answer has no copies")


def _digest_in(status: int, body: bytes) -> tuple[str, bool, Sequence[int]] | None:
    """The name of a registry, whether it is complete, and the digests of its parts; None: it is of another make."""
    if status == HTTPStatus.NOT_FOUND:
        return None
    _check(status)
    try:
        said = json.loads(body)
        name, is_complete, digests = said["registry"], said["complete"], [int(each, 16) for each in said["digests"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PeerAnswerError(f"its digest is none ({type(error).__name__})") from None
    if not isinstance(name, str) or not 0 < len(name) <= 64 or not name.isprintable() or len(digests) != PARTS:
        raise PeerAnswerError("its digest is not that of a registry like this one")
    return name, is_complete is True, digests


def _instances_in(status: int, body: bytes) -> list[Any]:
    """The instances in a list of Eureka's."""
    _check(status)
    try:
        applications = _listed(json.loads(body)["applications"].get("application"))
        return [each for application in applications for each in _listed(application.get("instance"))]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PeerAnswerError(f"its list is none of Eureka's ({type(error).__name__})") from None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
