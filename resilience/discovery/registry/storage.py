"""Storage: a store that registries keep their list in together, and begin with. For one event loop.

It stands beside the peers: it is told of each change that was accepted here, and asked twice a second what others have
told it. What it has of an instance are the same copies that peers send each other, so versions decide what is newer,
and the order, the loss and the repetition of messages do not matter. A lease that is renewed is written without its
instance, and an instance is only fetched where it is missing here.

Whenever the store was lost, or wiped, it is read from its beginning; what it lacks, or has something older of, is
written again. Meanwhile the registry goes on with what it has: whoever asks it never waits for the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from ..one_line import one_line
from .change import Change
from .copies import SAME_RENEWAL_S, Copies, Merged
from .entry import Form
from .instance import InvalidInstanceError
from .instance_copy import MOST_AGE_S, InstanceCopy, instance_in
from .instance_registry import InstanceRegistry
from .lease_table import REMEMBERED_S, Key
from .moment import Moment
from .peer import GATHER_S
from .peer_queue import PeerQueue, Pending
from .records import START, Record, Records, RecordsRefusedError, Write, Written
from .refusal import RefusedError

#: How often the store is asked what others have written, seconds.
POLL_S: Final = 0.5
#: Records that are written at a time, and that are read at a time with their instances.
MOST_WRITES: Final = 100
MOST_INSTANCES: Final = 16
#: A larger instance is not written.
MOST_INSTANCE_BYTES: Final = 1 << 20
#: With more bytes, no further records are written at the same time.
_MOST_WRITE_BYTES: Final = 1 << 20
#: Records that are merged before others have a turn.
_AT_ONCE: Final = 25
#: Characters of a record's name in a message.
_MOST_NAME: Final = 100
_logger = logging.getLogger(__name__)


class Storage:
    """The registry's side of a store.

    Attributes:
        queue: What the store has not been told yet.
        counts: What was written, taken and refused, by name.
        error: Why the last exchange failed, or the last refusal of a record; empty: there was none.
        error_s: When that was.
        success_s: When the store was last read to its end; None: never.
    """

    def __init__(self, records: Records, registry: InstanceRegistry, clock: Callable[[], Moment], *, most_queued: int,
                 complete: Callable[[str], None]) -> None:
        """Nothing is asked yet.

        Args:
            records: The store.
            registry: This one.
            clock: Returns the time.
            most_queued: Instances that the store has not been told of; with more, it is read from its beginning.
            complete: Called when all that the store has is here, too, if it has everything.
        """
        self.queue, self.counts = PeerQueue(most_queued), Counter[str]()
        self.error, self.error_s, self.success_s = "", -math.inf, None
        self._records, self._registry, self._clock, self._complete = records, registry, clock, complete
        self._copies, self._work = Copies(registry), asyncio.Event()
        self._place = START
        self._found: set[Key] | None = None  # while it is read from its beginning: what it has as we have it, or newer
        self._is_synchronous, self._episode = False, 0
        records.follow(self._hear)

    success_s: float | None

    def note(self, key: Key, change: Change) -> None:
        """The store has to hear of a *change*."""
        self.queue.add(key, change, self._clock().s)
        self._work.set()

    async def run(self) -> None:
        """Keep the two the same, for ever."""
        self._records.start(self._registry.name)
        while True:
            if self._records.is_connected:
                try:
                    await self._exchange()
                except Exception as error:  # noqa: BLE001 - the store may fail in any way; it is shown, and tried again
                    self._is_synchronous = False
                    if not isinstance(error, RecordsRefusedError):  # else what was read is still so
                        self._begin_anew()
                    self._note_error(str(error) or type(error).__name__)
                    self.counts["failed"] += 1
                    await asyncio.sleep(POLL_S)
            await self._rest()

    async def flush(self) -> None:
        """Tell the store what is queued; for the end. Raises whatever is in the way."""
        while self._place != START and not await self._write():
            await self._read()

    def close(self) -> None:
        """Ask no more, after run() was cancelled."""
        self._records.close()

    async def closed(self) -> None:
        """Wait, after close(), until nothing is open."""
        await self._records.closed()

    def report(self, now: Moment) -> Mapping[str, Any]:
        """What there is to say of it, for JSON."""
        since_s = self.queue.oldest_s()
        return {**self._records.report(), "queue": len(self.queue), "in_sync": self._is_synchronous,
                "lag_s": 0.0 if since_s is None else round(max(0.0, now.s - since_s), 3),
                "last_success_ago_s": None if self.success_s is None else round(now.s - self.success_s, 3),
                "last_error": self.error, "last_error_ago_s": round(now.s - self.error_s, 3) if self.error else None,
                "overflows": self.queue.overflows, "counts": dict(self.counts)}

    # -- within

    def _hear(self, is_connected: bool) -> None:
        """It is lost, or there again: then perhaps with less than it had."""
        self._episode += 1
        self._begin_anew()
        self._work.set()

    def _begin_anew(self) -> None:
        self._place, self._found, self._is_synchronous = START, None, False

    def _note_error(self, text: str) -> None:
        self.error, self.error_s = one_line(text)[:300], self._clock().s

    async def _rest(self) -> None:
        """Wait until there is something to do."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):  # and not wait_for(), which may swallow a cancellation
                await self._work.wait()
        if self._work.is_set():
            self._work.clear()
            await asyncio.sleep(GATHER_S)

    async def _exchange(self) -> None:
        """Take what others have written, and write what they lack."""
        if self.queue.has_overflowed and not len(self.queue):
            self._begin_anew()
            self.queue.has_overflowed = False
        await self._read()
        if await self._write():
            self._is_synchronous = self._place != START and not self.queue.has_overflowed
        else:
            self._work.set()  # others write the same: read that at once

    # -- reading

    async def _read(self) -> None:
        while True:
            vouches = self._is_synchronous and self._registry.is_complete and not len(self.queue)
            episode = self._episode
            news = await self._records.news(self._place, everything=self._found is not None, vouches=vouches)
            self._see_that_it_was_not_lost_since(episode)
            if news.is_from_start:
                self._found, self._is_synchronous = set(), False
                self.counts["read_from_start"] += 1
            await self._take(news.records)
            self._see_that_it_was_not_lost_since(episode)
            self._place = news.place
            if not news.has_more:
                break
        if self._found is not None:
            self._queue_all_but(self._found)
            self._found = None
        self.success_s = self._clock().s
        if news.is_whole and not self._registry.is_complete:
            self._complete(f"the shared store {self._records.report()['place']}")

    def _see_that_it_was_not_lost_since(self, episode: int) -> None:
        if episode != self._episode:
            raise ConnectionError("it was lost meanwhile, and may have said this before")

    async def _take(self, records: Sequence[Record]) -> None:
        """Merge copies, and then the instances that are missing here."""
        missing = [each.name for each in await self._merged(records)]
        for start in range(0, len(missing), MOST_INSTANCES):
            await self._merged(await self._records.read(missing[start:start + MOST_INSTANCES]))

    async def _merged(self, records: Iterable[Record]) -> list[Record]:
        """Merge *records*; those whose instance is needed for that."""
        missing = list[Record]()
        for index, record in enumerate(records):
            try:
                if self._merge(record):
                    missing.append(record)
            except (InvalidInstanceError, RefusedError) as error:
                self.counts["refused_here"] += 1
                self._note_error(f"what it says of an instance is refused: {error}, in the record "
                                 f"{record.name[:_MOST_NAME]}")
            if index % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        return missing

    def _merge(self, record: Record) -> bool:
        """Merge one; whether its instance is needed for that.

        Raises:
            InvalidInstanceError: It is none.
            RefusedError: It may not be here.
        """
        now, age_s = self._clock(), min(max(0.0, record.age_s), MOST_AGE_S)
        copy, instance = InstanceCopy.read(_json(record.copy)), None
        if name_of(copy.key) != record.name:
            raise InvalidInstanceError("a record must have the name of its instance")
        copy = attrs.evolve(copy, renewed_ago_s=copy.renewed_ago_s + age_s, arrived_ago_s=copy.arrived_ago_s + age_s,
                            began_ago_s=copy.began_ago_s + age_s)
        if record.instance and not copy.has_left:
            instance = instance_in(_json(record.instance), now, self._registry.settings.max_lease)
            if (instance.app, instance.id) != copy.key:
                raise InvalidInstanceError("a copy must be of its instance")
        merged = self._copies.merge(copy, instance, copy.source or "the shared store", now)
        if Merged.MISSING in merged and not record.instance:
            return True
        self.counts["taken"] += Merged.TAKEN in merged
        self._settle(copy, now)
        return False

    def _settle(self, copy: InstanceCopy, now: Moment) -> None:
        """A *copy* was merged: what is newer here has to be written, and what is the same has not."""
        lease, ours = self._registry.lease(*copy.key), self._copies.copy(*copy.key, now)
        is_renewed = lease is not None and lease.renewed_s > now.s - copy.renewed_ago_s + SAME_RENEWAL_S
        if ours is not None and (ours.version > copy.version or ours.override_stamp > copy.override_stamp):
            self.queue.add_found(copy.key, Change.REGISTERED, now.s)
        elif not is_renewed:
            self.queue.discard(copy.key)
        if self._found is not None and not is_renewed:
            self._found.add(copy.key)

    def _queue_all_but(self, found: set[Key]) -> None:
        """Queue everything that the store lacks, now that it was read from its beginning."""
        now = self._clock()
        for lease in self._registry.leases():
            if lease.key not in found and lease.ends_s > now.s:
                self.queue.add_found(lease.key, Change.REGISTERED, now.s)
        for key, _ in self._registry.table.left.items():  # noqa: PERF102 - no dict
            if key not in found:
                self.queue.add_found(key, Change.LEFT, now.s)

    # -- writing

    async def _write(self) -> bool:
        """Write all that is queued; whether that was possible without reading first."""
        while len(self.queue):
            batch = self._batch()
            if not batch:
                continue
            try:
                answers = await self._records.write(self._place, [write for _, write in batch])
            except BaseException:
                self.queue.give_back([each for each, _ in batch])
                raise
            unread = [each for (each, _), written in zip(batch, answers, strict=True) if written is Written.UNREAD]
            for (each, _), written in zip(batch, answers, strict=True):
                self.counts["written"] += written is Written.DONE
                if written is Written.INCOMPLETE:
                    self.queue.add(each.key, Change.REGISTERED, each.since_s)
            if unread:
                self.queue.give_back(unread)
                return False
        return True

    def _batch(self) -> list[tuple[Pending, Write]]:
        """What to write at a time, out of the queue."""
        now, found, size = self._clock(), list[tuple[Pending, Write]](), 0
        left = list(self.queue.take(MOST_WRITES))
        while left and size < _MOST_WRITE_BYTES:
            pending = left.pop(0)
            write = self._write_of(pending, now)
            if write is not None:
                found.append((pending, write))
                size += len(write.instance or b"")
        self.queue.give_back(left)
        return found

    def _write_of(self, pending: Pending, now: Moment) -> Write | None:
        """What to write of an instance, as it is now; None: nothing, for its lease has run out."""
        key, lease = pending.key, self._registry.lease(*pending.key)
        if lease is None:
            grave = self._registry.table.left.any(*key)
            if grave is None:
                return None
            least_s = max(grave.until_s, grave.left.s + REMEMBERED_S) - now.s
            copy = InstanceCopy.of_left(key, grave, now)
            return None if least_s <= 0 else _write_of(copy, least_s, b"")
        if lease.ends_s <= now.s:
            return None
        instance = None if pending.change == Change.RENEWED else lease.current_entry().text(Form.JSON)
        if instance is not None and len(instance) > MOST_INSTANCE_BYTES:
            self.counts["too_large"] += 1
            return None
        return _write_of(InstanceCopy.of(lease, now), lease.ends_s - now.s, instance)


def name_of(key: Key) -> str:
    """The name of the record of an instance."""
    return json.dumps(key)


def _write_of(copy: InstanceCopy, lease_s: float, instance: bytes | None) -> Write:
    return Write(name_of(copy.key), lease_s, f"{copy.version}{copy.override_stamp}",
                 json.dumps(copy.said_json()).encode(), instance)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInstanceError("a record must be JSON") from None
