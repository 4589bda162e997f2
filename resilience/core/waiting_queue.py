"""Waiting queues: those of one level of importance who wait for a place, in order, or tenant by tenant in turn.

A plain line goes by who came first. A fair line goes by whose turn it is. Each place that a tenant gets moves it to the
next round, and whoever waits in the lowest round is next: the least served first, which is start-time fair queueing
(Goyal and others, 1996) for places that cost the same. So a tenant that asks a hundred times as often as the others
waits a hundred times, and takes nothing from them. A waiter may stay for so short a time
(core.admission_queue) that a tenant of few calls has nobody waiting when its turn comes. It keeps up to
CREDIT turns that it has missed, and gets them when it is there. One that is new, or was forgotten, begins in
the round that is being served.

When there is no room, a waiter of the tenant with the most waiters gives way to one of a tenant with fewer. The
tenant with the most is remembered as tenants grow. If it has shrunk below its share of the room since, a few others are
looked at (LOOKS), so that no call costs more than that.

Nothing is locked here (see core.admission_queue). The rounds are a ring of ordered dicts that stay where they are, and
what two threads could do at once is made so that the order of their steps does not matter: who joins puts the
ticket first into its tenant, and then the tenant into its round; who takes a tenant out of its round looks
afterwards whether somebody joined, and puts it back. A tenant may be in two rounds after such an encounter; it is
never in none while somebody waits.

Tenants for whom nobody waits are forgotten when there are many.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .admission_queue import Ticket

#: Turns that a tenant may have missed and still gets.
CREDIT: Final = 15
SPAN: Final = CREDIT + 2
#: Grants after which a round is over though more wait in it: new tenants cannot keep the others out for ever.
ROUND: Final = 1000
LOOKS: Final = 64
#: Tenants that are remembered without a look at whether they wait.
FEW: Final = 1024


class WaitingQueue:
    """Tickets, the oldest first.

    Attributes:
        empty_at: When it was last seen empty, seconds; kept for a fair line only.
    """

    __slots__ = ("_tickets", "empty_at")

    def __init__(self) -> None:
        self.empty_at = 0.0
        self._tickets: OrderedDict[Ticket, None] = OrderedDict()  # compared by identity

    def __iter__(self) -> Iterator[Ticket]:
        return iter(list(self._tickets))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def prepare(self, ticket: Ticket) -> None:
        """Do what may call a user's code, before *ticket* is queued."""

    def add(self, ticket: Ticket) -> None:
        """Put *ticket* at the end."""
        self._tickets[ticket] = None

    def remove(self, ticket: Ticket) -> None:
        """Take *ticket* out, which has been decided, if it is still there."""
        self._tickets.pop(ticket, None)

    def served(self, ticket: Ticket) -> None:
        """Take *ticket* out, which has got a place."""
        self._tickets.pop(ticket, None)

    def next(self, *, newest: bool = False) -> Ticket | None:
        """Return who is next; those that are decided already are taken out on the way."""
        return _end_of(self._tickets, newest)

    def last(self) -> Ticket | None:
        """Return who leaves first when the room becomes smaller."""
        return _end_of(self._tickets, newest=True)

    def gives_way(self, newcomer: Ticket | None, spared: Ticket | None, room: int, *, stands: bool,
                  newest: bool) -> Ticket | None:
        """Return who leaves for a newcomer; None: nobody.

        Args:
            newcomer: If it stands in this line, the newcomer.
            spared: Who does not give way to anybody.
            room: For how many there is room.
            stands: Whether a newcomer goes before its equals.
            newest: Whether of a tenant's waiters the newest gives way.
        """
        if newcomer is not None and not stands:
            return None
        ticket = _end_of(self._tickets)
        if ticket is not None and ticket is spared:
            ticket = _end_of(self._tickets, newest=True)
        return None if ticket is spared else ticket


class Tenant:
    """Those of one tenant who wait.

    Attributes:
        tickets: The oldest first.
        round: Of its next turn.
        empty_at: When nobody of it waited last, seconds.
    """

    __slots__ = ("empty_at", "round", "tickets")

    def __init__(self, number: int) -> None:
        self.tickets: OrderedDict[Ticket, None] = OrderedDict()
        self.round = number
        self.empty_at = 0.0

    def stands(self, now: float, wait_s: float) -> bool:
        """Whether somebody of it has waited at any moment for as long as one may wait."""
        return bool(self.tickets) and now - self.empty_at >= wait_s


class FairQueue(WaitingQueue):
    """Tickets, of each tenant the oldest first; the tenants take turns."""

    __slots__ = ("_granted", "_longest", "_most", "_ring", "_round", "_tenants")

    def __init__(self) -> None:
        super().__init__()
        self._tenants: dict[Hashable, Tenant] = {}
        self._most = FEW
        self._longest = Tenant(0)
        self._round, self._granted = 0, 0  # which is being served, and how many were in it
        self._ring: tuple[OrderedDict[Tenant, None], ...] = tuple(OrderedDict() for _ in range(SPAN))

    def __iter__(self) -> Iterator[Ticket]:
        tenants = dict.fromkeys(tenant for line in self._ring for tenant in list(line))
        return iter([ticket for tenant in tenants for ticket in list(tenant.tickets)])

    def prepare(self, ticket: Ticket) -> None:
        """Find the tenant of *ticket*: a key's equality may be a user's code."""
        tenant = self._tenants.get(ticket.key)
        if tenant is None:
            if len(self._tenants) >= self._most:
                for key, each in list(self._tenants.items()):
                    if not each.tickets:
                        self._tenants.pop(key, None)
                self._most = max(FEW, 2 * len(self._tenants))
            tenant = self._tenants.setdefault(ticket.key, Tenant(self._round))
        ticket.tenant = tenant

    def add(self, ticket: Ticket) -> None:
        """Put *ticket* at the end of those of its tenant."""
        tenant = ticket.tenant
        tenant.tickets[ticket] = None
        waiting = len(tenant.tickets)
        if waiting == 1:
            tenant.round = max(tenant.round, self._round - CREDIT)
        if waiting >= len(self._longest.tickets):
            self._longest = tenant
        self._ring[tenant.round % SPAN][tenant] = None

    def remove(self, ticket: Ticket) -> None:
        """Take *ticket* out, which has been decided, if it is still there."""
        tenant = ticket.tenant
        tenant.tickets.pop(ticket, None)
        if not tenant.tickets:
            self._take_out(tenant, self._ring[tenant.round % SPAN])

    def served(self, ticket: Ticket) -> None:
        """Take *ticket* out, which has got a place; its tenant's next turn is in the next round."""
        tenant = ticket.tenant
        tenant.tickets.pop(ticket, None)
        line, number = self._ring[tenant.round % SPAN], tenant.round
        tenant.round = number + 1
        self._take_out(tenant, line)
        self._granted += 1
        if number > self._round or self._granted >= ROUND:
            self._round, self._granted = max(number, self._round + (self._granted >= ROUND)), 0

    def next(self, *, newest: bool = False) -> Ticket | None:
        """Return who is next; those that are decided already are taken out on the way."""
        lowest = self._round - CREDIT
        for number in range(lowest, lowest + SPAN):
            line = self._ring[number % SPAN]
            while line:
                try:
                    tenant = next(iter(line))
                except (StopIteration, RuntimeError):  # another thread took it out
                    continue
                ticket = _end_of(tenant.tickets, newest)
                if ticket is not None:
                    return ticket
                self._take_out(tenant, line)
        return None

    def last(self) -> Ticket | None:
        """Return who leaves first when the room becomes smaller: of the tenant with the most, the newest."""
        return self.gives_way(None, None, 0, stands=False, newest=True)

    def gives_way(self, newcomer: Ticket | None, spared: Ticket | None, room: int, *, stands: bool,
                  newest: bool) -> Ticket | None:
        """Return who leaves for a newcomer: of the tenant with the most waiters; see WaitingQueue."""
        own = 0 if newcomer is None else len(newcomer.tenant.tickets) - stands
        tenant = self._longest_of(own, room)
        if tenant is None:
            return None
        ticket = _end_of(tenant.tickets, newest)
        if ticket is not None and ticket is spared:
            ticket = _end_of(tenant.tickets, not newest)
        return None if ticket is spared else ticket

    def _longest_of(self, own: int, room: int) -> Tenant | None:
        """A tenant with the most waiters, as far as one can see, if it has more than *own*."""
        longest = self._longest
        most = len(longest.tickets)
        if most <= own or most * sum(map(len, self._ring)) < room:  # it has shrunk
            for tenant in self._some():
                if len(tenant.tickets) > most:
                    longest, most = tenant, len(tenant.tickets)
            self._longest = longest
        return longest if most > own else None

    def _some(self) -> Iterator[Tenant]:
        """A few tenants that wait, those last whose turn comes first."""
        left = LOOKS
        for number in range(self._round + 1, self._round - CREDIT - 1, -1):
            try:
                for tenant in itertools.islice(self._ring[number % SPAN], left):
                    left -= 1
                    yield tenant
            except RuntimeError:  # another thread changed it: what was seen has to do
                continue

    def _take_out(self, tenant: Tenant, line: OrderedDict[Tenant, None]) -> None:
        """Take *tenant* out of the *line* of a round; it goes where it belongs if somebody of it waits."""
        line.pop(tenant, None)
        if tenant.tickets:
            self._ring[tenant.round % SPAN][tenant] = None


def _end_of(tickets: OrderedDict[Ticket, None], newest: bool = False) -> Ticket | None:
    """Return the first or the last of *tickets*; those that are decided already are taken out on the way."""
    while tickets:
        try:
            ticket = next(reversed(tickets) if newest else iter(tickets))
        except (StopIteration, RuntimeError):  # another thread took it out
            continue
        if ticket.waiting:
            return ticket
        tickets.pop(ticket, None)
    return None
