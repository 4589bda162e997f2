"""Fleet: what operators say to all gateways of a fleet, as one of them hears it, and puts it in force.

Whatever one gateway's admin API is told for the fleet is put in force there first, so that what is no good is refused
before anybody else hears of it. Then it is written to the shared store, which every supervisor asks once a second; each
puts it in force as its own admin API would, in all workers or in none, and reports what became of it.

The file comes first, and what was said to the fleet is laid over it: at a start and at a reload alike, until it is
withdrawn. What does not go with the file any more is left out, and the report says why. A store that is lost, or was
wiped, takes nothing away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigError
from ...shared.fleet_changes import Entry, next_number, patched
from ...shared.membership import BEAT_S, LIFETIME_S
from ...shared.store import StoreUnavailableError
from ..config.effective import shown
from ..config.secrets import secret_of
from .fleet_link import FleetLink, FleetMember
from .patches import check_patch, merged
from .worker import ORDERS

if TYPE_CHECKING:
    from .supervisor import Supervisor

_WHAT: Final = "what operators have said to the fleet"
_COMMANDS: Final = "commands/"
_SERVICES: Final = "services/"
_NO_FLEET: Final = "this gateway is of no fleet; fleet_secret in the [shared] table makes it one of one"
_TRIES: Final = 5
_MOST_WORDS: Final = 150  # letters of a reason: the report of all things must be no larger than an entry
_logger = logging.getLogger(__name__)


class NoFleetError(Exception):
    """The fleet cannot be told anything now; the message says why."""


class Fleet:
    """One gateway's part in its fleet. For one event loop.

    Attributes:
        lock: Whoever has it is alone to hear the fleet, to speak to it, and to lay what was said over a file.
        taken: How many entries were put in force here.
        refused: How many could not be.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        """Nothing is asked yet.

        Args:
            supervisor: Whose gateway it is.
        """
        self._supervisor = supervisor
        self._link: FleetLink | None = None
        self._results: dict[str, list[Any]] = {}  # by thing: the entry's number, whether it is in force, why not
        self._waiting: dict[str, Entry] = {}  # orders that no worker was there for
        self.lock = asyncio.Lock()
        self._trouble = ""
        self.taken = self.refused = 0

    @property
    def foreign(self) -> int:
        """Entries in the store that no gateway of the fleet wrote."""
        return 0 if self._link is None else self._link.foreign

    # -- the whole life

    async def join(self) -> None:
        """Put in force what was said to the fleet, before the gateway serves, if the store says it soon."""
        async with self.lock:
            await self._settle()
            if self._link is not None:
                await self._link.connection.known()
                await self._follow()

    async def run(self) -> None:
        """Follow the store until cancelled."""
        try:
            while True:
                await asyncio.sleep(BEAT_S)
                try:
                    async with self.lock:
                        await self._settle()
                        await self._follow()
                except Exception:
                    _logger.exception("what operators say to the fleet is not followed for a moment")
        finally:
            await self._leave(leaves=True)

    # -- what an operator does

    async def say(self, things: Mapping[str, Any], by: str, apply: Callable[[], Awaitable[dict[str, Any]]]) -> (
            dict[str, Any]):
        """Say something to the fleet, which is put in force here first.

        Args:
            things: A patch for each thing; an order for a command.
            by: Who says it, and where.
            apply: Puts it in force here.

        Raises:
            ConfigError: It cannot be in force here, or be told to the fleet; nobody was told, and nothing has changed.
            NoFleetError: The fleet cannot be told.
        """
        async with self.lock:
            for _ in range(_TRIES):
                link = await self._ready()
                number = next_number(link.known)
                entries = [self._entry(link, thing, said, number, by) for thing, said in things.items()]
                texts = link.texts(entries)
                result = await apply()
                try:
                    is_written = await link.write(texts)
                except (StoreUnavailableError, ConfigError) as error:
                    raise NoFleetError(f"it is in force here alone: {error}") from None
                if is_written:
                    for entry in entries:
                        link.known[entry.thing] = entry
                        self._waiting.pop(entry.thing, None)
                        self._note(entry, None)
                    until = {"until": "it is withdrawn from the fleet"} if "until" in result else {}
                    return {**result, **until, "fleet": {"number": number}}
        raise NoFleetError("other operators speak to the fleet at the same time, and it is in force here alone; ask "
                           "again")

    async def withdraw(self, thing: str, by: str) -> None:
        """Take back what was said of a *thing*; every gateway reads its file again.

        Raises:
            ConfigError: Nothing was said of it, or it is an order.
            NoFleetError: The fleet cannot be told.
        """
        async with self.lock:
            for _ in range(_TRIES):
                link = await self._ready()
                before = link.known.get(thing)
                if before is None or not before.patches:
                    raise ConfigError(f"nothing was said to the fleet of {thing!r} that can be withdrawn"
                                      + ("; order release instead" if thing.startswith(_COMMANDS) else ""))
                number = next_number(link.known)
                entry = Entry(thing=thing, number=number, since=number, when=link.time,
                              by=f"{by} at {link.name}", is_withdrawn=True)
                try:
                    is_written = await link.write(link.texts([entry]))
                except StoreUnavailableError as error:
                    raise NoFleetError(str(error)) from None
                if is_written:
                    link.known[thing] = entry
                    link.fresh.append((entry, before))
                    await self._apply(link)
                    return
        raise NoFleetError("other operators speak to the fleet at the same time; ask again")

    async def report(self) -> dict[str, Any]:
        """What was said to the fleet, as far as this gateway knows, and what became of it in each gateway."""
        link, members, trouble = self._link, list[FleetMember](), None
        if link is None:
            return {"gateway": None, "trouble": self._trouble or _NO_FLEET, "gateways": {}, "things": {}}
        try:
            members = await link.members()
        except StoreUnavailableError as error:
            trouble = str(error)
        return {
            "gateway": link.name, "trouble": trouble, "unauthenticated": link.foreign,
            "gateways": {each.name: {"heard_s": each.heard_s, "is_missing": each.heard_s > LIFETIME_S}
                         for each in members},
            "things": {thing: {
                "number": entry.number, "when": entry.when, "by": entry.by, "says": _says(entry),
                "gateways": {each.name: _became(entry, each.results.get(thing)) for each in members},
            } for thing, entry in sorted(link.known.items())},
        }

    # -- what the supervisor asks when it reads its file

    @property
    def said(self) -> list[Entry]:
        """What is to be laid over a file, the oldest first."""
        known = () if self._link is None else self._link.known.values()
        return sorted((entry for entry in known if entry.patches), key=lambda entry: entry.number)

    def laid(self, entries: Iterable[Entry]) -> None:
        """The file was read again, and *entries* are in force over it."""
        for entry in entries:
            self._note(entry, None)

    async def lay(self, entries: list[Entry]) -> None:
        """The file was read again, and is in force alone: lay over it what goes with it."""
        if entries:
            await self._change(entries)

    # -- within

    async def _settle(self) -> None:
        """Be of the fleet that the configuration in force says."""
        settings, link, secret = self._supervisor.config.shared, self._link, b""
        try:
            if settings is not None and settings.fleet_secret is not None:
                secret = secret_of(settings.fleet_secret)
            if link is not None and settings is not None and secret == link.secret and (
                    settings.connection == link.settings.connection):
                return
            await self._leave()
            if settings is not None and secret:
                self._link = FleetLink(settings, secret)
                self._link.connection.start()
            self._trouble = ""
        except ConfigError as error:
            if self._trouble != str(error):
                _logger.error("this gateway cannot join its fleet: %s", error)
            self._trouble = str(error)

    async def _leave(self, *, leaves: bool = False) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._results, self._waiting = {}, {}
            if leaves:
                with contextlib.suppress(StoreUnavailableError):
                    await link.read({}, leaves=True)
            link.connection.close()
            await link.connection.closed()

    async def _ready(self) -> FleetLink:
        """The link, when all is in force that the store says."""
        await self._settle()
        link = self._link
        if link is None:
            raise NoFleetError(self._trouble or _NO_FLEET)
        try:
            await self._hear(link)
        except StoreUnavailableError as error:
            raise NoFleetError(str(error)) from None
        return link

    async def _follow(self) -> None:
        if self._link is not None and self._link.connection.is_connected:
            with contextlib.suppress(StoreUnavailableError):
                await self._hear(self._link)

    async def _hear(self, link: FleetLink) -> None:
        foreign = link.foreign
        await link.read(self._results)
        if link.foreign > foreign:
            _logger.error("the shared store at %s has %d entries for the fleet that none of its gateways wrote; they "
                          "change nothing", link.settings.url, link.foreign)
        await self._apply(link)

    async def _apply(self, link: FleetLink) -> None:
        """Put in force what is new; what is cut short is done again, which changes nothing."""
        fresh = tuple(link.fresh)
        patches, withdrawn, is_taken_back = list[Entry](), list[Entry](), False
        for entry, before in fresh:
            if entry.order is not None:
                self._waiting[entry.thing] = entry
                continue
            if before is not None and before.patches and (
                    before.since != entry.since or before.number == entry.number):  # it has not all of what was before
                is_taken_back = True
            (patches if entry.patches else withdrawn).append(entry)
        if is_taken_back:
            await self._take_back(withdrawn, patches)
        else:
            for entry in withdrawn:
                self._note(entry, None)
            if patches:
                await self._change(patches)
        del link.fresh[:len(fresh)]
        if self._waiting and self._supervisor.is_ready:
            await self._order()

    async def _take_back(self, withdrawn: list[Entry], patches: list[Entry]) -> None:
        """Read the file again, with what is still said laid over it."""
        why = None
        try:
            await self._supervisor.read_again()
        except ConfigError as error:
            why = f"the file cannot be read again: {error}"
        for entry in withdrawn if why is None else (*withdrawn, *patches):
            self._note(entry, why)

    async def _change(self, entries: list[Entry]) -> None:
        """Put patches in force: all at once, or if that cannot be, those that were said together."""
        why = await self._changed(entries)
        for _, some in groupby(entries, key=lambda entry: entry.number):
            together = list(some)
            if why is not None and len(together) < len(entries):
                each_why = await self._changed(together)
            else:
                each_why = why
            for entry in together:
                self._note(entry, each_why)

    async def _changed(self, entries: list[Entry]) -> str | None:
        try:
            await self._supervisor.change(lambda data: over(data, entries), _WHAT)
        except ConfigError as error:
            return str(error)
        return None

    async def _order(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for entry in sorted(waiting.values(), key=lambda entry: entry.number):
            why = None
            try:
                if not entry.thing.startswith(_COMMANDS) or entry.order not in ORDERS:
                    raise ConfigError("no operator can order that")
                await self._supervisor.steer(entry.thing.removeprefix(_COMMANDS), entry.order)
            except ConfigError as error:
                why = str(error)
            self._note(entry, why)

    def _note(self, entry: Entry, why: str | None) -> None:
        """An entry is in force here, unless *why* says why not."""
        result = [entry.number, why is None, "" if why is None else why[:_MOST_WORDS]]
        if self._results.get(entry.thing) == result:
            return
        self._results[entry.thing] = result
        if why is None:
            self.taken += 1
            _logger.warning("%s: as %s said to the fleet", entry.thing, entry.by)
        else:
            self.refused += 1
            _logger.error("%s: what %s said to the fleet cannot be in force here: %s", entry.thing, entry.by, why)

    @staticmethod
    def _entry(link: FleetLink, thing: str, said: Any, number: int, by: str) -> Entry:
        by = f"{by} at {link.name}"
        if thing.startswith(_COMMANDS):
            return Entry(thing=thing, number=number, since=number, when=link.time, by=by, order=said)
        return patched(link.known.get(thing), thing, said, number=number, when=link.time, by=by)


def things_of(patch: Mapping[str, Any]) -> dict[str, Any]:
    """The things that a merge *patch* of the configuration is about, each with the patch of it alone.

    Raises:
        ConfigError: It takes away all services at once.
    """
    found: dict[str, Any] = {}
    for table, value in patch.items():
        if table == "routes":
            found["routes"] = value
        elif isinstance(value, Mapping):
            found.update((f"{_SERVICES}{name}", each) for name, each in value.items())
        else:
            raise ConfigError(f"{table} must be a table", table)
    return found


def order_of(key: str, order: str) -> dict[str, Any]:
    """The thing that an *order* to a command is about."""
    return {f"{_COMMANDS}{key}": order}


def over(data: dict[str, Any], entries: Iterable[Entry]) -> dict[str, Any]:
    """The tables of a configuration with *entries* laid over them.

    Raises:
        ConfigError: Something was said that no operator may say.
    """
    for entry in entries:
        for patch in entry.patches:
            if entry.thing.startswith(_SERVICES):
                whole = {"services": {entry.thing.removeprefix(_SERVICES): patch}}
            else:
                whole = {entry.thing: patch}
            check_patch(whole)
            data = merged(data, whole)
    return data


def _says(entry: Entry) -> Any:
    if entry.is_withdrawn:
        return "withdrawn"
    return entry.order if entry.order is not None else shown(list(entry.patches))


def _became(entry: Entry, result: Any) -> dict[str, Any]:
    """What a gateway reports of an entry."""
    if not isinstance(result, list) or len(result) != 3 or result[0] != entry.number:
        return {"applied": False, "why": "it has not said so yet"}
    return {"applied": True} if result[1] else {"applied": False, "why": result[2]}


