"""Waiting lines one step at a time: who is next, who gives way, and what is remembered of a tenant."""

from collections import OrderedDict

import pytest

from resilience.core.waiting_queue import FairQueue, WaitingQueue


class Waiter:
    """As much of a ticket as a line knows."""

    def __init__(self, key=None):
        self.key, self.waiting, self.tenant = key, True, None


def join(line, key=None):
    ticket = Waiter(key)
    line.prepare(ticket)
    line.add(ticket)
    return ticket


def join_all(line, keys):
    return [join(line, key) for key in keys]


def serve(line, count=1):
    """The keys of the next ones, who get a place each."""
    keys = []
    for _ in range(count):
        ticket = line.next()
        ticket.waiting = False
        line.served(ticket)
        keys.append(ticket.key)
    return keys


def leave(line, ticket):
    ticket.waiting = False
    line.remove(ticket)


def empty(line):
    return serve(line, len(line))


@pytest.mark.parametrize("kind", [WaitingQueue, FairQueue])
def test_a_new_line_is_empty(kind):
    line = kind()
    assert (line.next(), line.last(), len(line), list(line), line.empty_at) == (None, None, 0, [], 0.0)
    assert line.gives_way(None, None, 4, stands=False, newest=False) is None


@pytest.mark.parametrize("kind", [WaitingQueue, FairQueue])
def test_a_line_holds_those_who_have_joined_and_neither_got_a_place_nor_left(kind):
    line = kind()
    first, second, third, fourth = join_all(line, "abca")
    assert (len(line), set(line)) == (4, {first, second, third, fourth})
    leave(line, second)
    line.remove(second)
    assert (len(line), set(line)) == (3, {first, third, fourth})
    line.served(first)
    assert (len(line), set(line)) == (2, {third, fourth})


@pytest.mark.parametrize("kind", [WaitingQueue, FairQueue])
def test_of_one_tenant_the_oldest_is_next_or_the_newest_and_the_newest_leaves_when_the_room_shrinks(kind):
    line = kind()
    first, second, third = join_all(line, "aaa")
    assert (line.next(), line.next(newest=True), line.last()) == (first, third, third)
    leave(line, first)
    assert line.next() is second
    leave(line, third)
    assert (line.next(newest=True), line.last()) == (second, second)


@pytest.mark.parametrize("kind", [WaitingQueue, FairQueue])
def test_those_that_are_decided_already_are_passed_over_and_taken_out(kind):
    line = kind()
    tickets = join_all(line, "aaaab")
    for ticket in (tickets[0], tickets[1], tickets[3]):
        ticket.waiting = False
    assert line.next() is tickets[2]
    assert set(line) == {tickets[2], tickets[3], tickets[4]}
    tickets[2].waiting = False
    assert line.next() is tickets[4]
    assert set(line) == {tickets[4]}
    tickets[4].waiting = False
    assert (line.next(), len(line)) == (None, 0)


def test_in_a_plain_line_the_oldest_gives_way_and_to_an_equal_only_while_it_stands():
    line = WaitingQueue()
    first, second, third = join_all(line, "aab")
    newcomer = Waiter()
    assert line.gives_way(newcomer, None, 4, stands=False, newest=False) is None
    assert line.gives_way(newcomer, None, 4, stands=True, newest=False) is first
    assert line.gives_way(None, None, 4, stands=False, newest=False) is first
    assert line.gives_way(None, first, 4, stands=False, newest=False) is third
    assert line.gives_way(None, second, 4, stands=False, newest=False) is first
    leave(line, second)
    leave(line, third)
    assert line.gives_way(None, first, 4, stands=False, newest=False) is None


def test_tenants_take_turns():
    line = FairQueue()
    join_all(line, "aaaabbc")
    assert empty(line) == list("abcabaa")


def test_a_tenant_that_joins_later_begins_in_the_round_that_is_served():
    line = FairQueue()
    join_all(line, "a" * 40)
    serve(line, 20)
    join_all(line, "bb")
    assert serve(line, 5) == list("babaa")


def test_a_tenant_that_missed_turns_gets_fifteen_of_them_and_goes_first_meanwhile():
    line = FairQueue()
    join_all(line, "b" + "a" * 60)
    assert serve(line, 51) == list("b" + "a" * 50)
    join_all(line, "b" * 30)
    assert serve(line, 20) == list("b" * 16 + "abab")


def test_a_tenant_that_missed_fewer_turns_gets_as_many_as_it_missed():
    line = FairQueue()
    join_all(line, "b" + "a" * 60)
    serve(line, 6)
    join_all(line, "b" * 30)
    assert serve(line, 8) == list("bbbbabab")


def test_a_round_is_over_after_a_thousand_grants_though_more_wait_in_it():
    line = FairQueue()
    join_all(line, ["known", "known"])
    served = []
    for number in range(1100):
        join(line, number)
        served += serve(line)
    assert [0, 1001] == [at for at, key in enumerate(served) if key == "known"]


def test_a_round_that_was_cut_short_counts_from_the_next_round_on():
    line = FairQueue()
    join_all(line, ["known"] * 3)
    served = []
    for number in range(2200):
        join(line, number)
        served += serve(line)
    assert [0, 1001, 2002] == [at for at, key in enumerate(served) if key == "known"]


def test_the_tenant_with_the_most_gives_way_with_its_oldest_or_its_newest():
    line = FairQueue()
    a, *_ = join_all(line, "aab")
    b = join_all(line, "bb")[-1]
    newcomer = join(line, "c")
    for stands in (False, True):
        assert line.gives_way(newcomer, None, 6, stands=stands, newest=True) is b
    assert line.gives_way(None, None, 6, stands=False, newest=True) is b
    first = next(ticket for ticket in line if ticket.key == "b")
    assert line.gives_way(newcomer, None, 6, stands=False, newest=False) is first
    assert line.gives_way(newcomer, first, 6, stands=False, newest=False) is b
    assert line.gives_way(newcomer, b, 6, stands=False, newest=True) is first
    assert a.waiting


def test_of_tenants_with_equally_many_that_which_grew_last_gives_way():
    line = FairQueue()
    tickets = join_all(line, "abba")
    assert line.last() is tickets[3]
    tickets = join_all(line, "cc")
    assert line.last() is tickets[1]


def test_nobody_gives_way_to_a_newcomer_whose_tenant_has_as_many():
    line = FairQueue()
    a = join_all(line, "aa")
    b = join_all(line, "bb")
    assert line.gives_way(b[1], None, 4, stands=False, newest=True) is None
    assert line.gives_way(b[1], None, 4, stands=True, newest=True) is not None
    assert line.gives_way(join(line, "c"), None, 5, stands=False, newest=True) is b[1]
    assert a[0].waiting


def test_nobody_gives_way_if_the_only_one_is_spared():
    line = FairQueue()
    only = join(line, "a")
    assert line.gives_way(None, only, 2, stands=False, newest=True) is None
    assert line.gives_way(None, only, 2, stands=False, newest=False) is None


def test_if_the_longest_tenant_has_shrunk_below_its_share_a_longer_one_is_found():
    line = FairQueue()
    b = join_all(line, "b" * 4)
    a = join_all(line, "a" * 5)
    for ticket in a[:3]:
        leave(line, ticket)
    assert line.gives_way(join(line, "c"), None, 7, stands=False, newest=True) is b[3]
    leave(line, a[3])
    leave(line, a[4])
    assert line.gives_way(join(line, "d"), None, 6, stands=False, newest=True) is b[3]


def test_a_longest_tenant_that_still_has_its_share_gives_way_though_another_has_more():
    line = FairQueue()
    b = join_all(line, "b" * 4)
    a = join_all(line, "a" * 5)
    leave(line, a[0])
    leave(line, a[1])
    newcomer = join(line, "c")
    assert line.gives_way(newcomer, None, 9, stands=False, newest=True) is a[4]
    assert line.gives_way(newcomer, None, 10, stands=False, newest=True) is b[3]
    assert line.gives_way(newcomer, None, 9, stands=False, newest=True) is b[3]


def without_longest(line):
    """The line, of which the longest tenant has left, so that others have to be looked at."""
    for ticket in join_all(line, ["gone"] * 50):
        leave(line, ticket)
    return line


@pytest.mark.parametrize(("others", "found"), [(63, True), (64, False)])
def test_sixty_four_tenants_are_looked_at(others, found):
    line = FairQueue()
    join_all(line, [*range(others), *["long"] * 9])
    assert (without_longest(line).last().key == "long") is found


@pytest.mark.parametrize(("others", "found"), [(23, True), (24, False)])
def test_sixty_four_tenants_are_looked_at_in_all_rounds_together(others, found):
    line = FairQueue()
    join_all(line, [*range(40)] * 2)
    serve(line, 40)
    for number in range(100, 100 + others):
        join(line, number)
    join_all(line, ["long"] * 9)
    assert (without_longest(line).last().key == "long") is found


def test_of_tenants_with_equally_many_that_gives_way_whose_turn_comes_last():
    line = FairQueue()
    join_all(line, "bcccbb")
    assert serve(line) == ["b"]
    join_all(line, "b")
    assert without_longest(line).last().key == "b"

    line = FairQueue()
    join_all(line, ["missed", *"a" * 60])
    serve(line, 31)
    a, *others = [ticket for ticket in line if ticket.key == "a"]
    join(line, "missed")  # waits in the first round of those that are remembered
    for ticket in others:
        leave(line, ticket)
    assert without_longest(line).last() is a


def test_if_the_longest_tenant_has_left_another_is_found():
    line = FairQueue()
    only = join(line, "a")
    assert without_longest(line).last() is only


def test_another_is_found_if_the_longest_has_no_more_than_the_newcomers_tenant():
    line = FairQueue()
    b = join_all(line, "b" * 4)
    n = join_all(line, "n" * 3)
    a = join_all(line, "a" * 5)
    leave(line, a[0])
    leave(line, a[1])
    assert line.gives_way(n[2], None, 9, stands=False, newest=True) is b[3]


def test_a_tenant_that_has_left_counts_no_more():
    line = FairQueue()
    b = join_all(line, "b" * 4)
    leave(line, join(line, "x"))
    a = join_all(line, "a" * 5)
    leave(line, a[0])
    leave(line, a[1])
    assert line.gives_way(join(line, "c"), None, 10, stands=False, newest=True) is b[3]


def test_a_tenant_keeps_its_place_when_one_of_its_waiters_leaves():
    line = FairQueue()
    a = join_all(line, "aab")
    leave(line, a[1])
    assert serve(line, 2) == list("ab")


def test_missed_turns_are_got_one_by_one_too():
    line = FairQueue()
    join_all(line, ["b", *"a" * 60])
    serve(line, 51)
    served = []
    for _ in range(18):
        join(line, "b")
        served += serve(line)
    assert served == list("b" * 16 + "ab")


class ChangedMeanwhile(OrderedDict):
    """Raises once what an iterator raises when another thread changes the dict, or takes out the last."""

    def __init__(self, content, error):
        super().__init__(content)
        self.error = error

    def __iter__(self):
        return self.meanwhile(super().__iter__())

    def __reversed__(self):
        return self.meanwhile(super().__reversed__())

    def meanwhile(self, iterator):
        error, self.error = self.error, None
        if error is not None:
            raise error
        return iterator


@pytest.mark.parametrize("error", [StopIteration(), RuntimeError("mutated")], ids=repr)
@pytest.mark.parametrize("newest", [False, True])
def test_a_line_that_another_thread_changes_meanwhile_is_looked_at_again(error, newest):
    line = WaitingQueue()
    ticket = join(line)
    line._tickets = ChangedMeanwhile(line._tickets, error)
    assert line.next(newest=newest) is ticket

    line = FairQueue()
    ticket = join(line)
    line._ring = (ChangedMeanwhile(line._ring[0], error), *line._ring[1:])
    assert line.next(newest=newest) is ticket


def test_the_tenants_of_the_next_round_are_looked_at_before_those_of_this_one():
    line = FairQueue()
    join_all(line, ["late", *range(64), *["late"] * 4])
    assert serve(line) == ["late"]
    a = join_all(line, "a" * 10)
    for ticket in a:
        leave(line, ticket)
    assert line.gives_way(None, None, 99, stands=False, newest=True).key == "late"


def test_the_tenants_of_rounds_that_were_missed_are_looked_at_too():
    line = FairQueue()
    join_all(line, ["b", *"a" * 40])
    serve(line, 30)
    b = join_all(line, "bbb")
    a = [ticket for ticket in line if ticket.key == "a"]
    for ticket in a:
        leave(line, ticket)
    join(line, "c")
    assert line.gives_way(None, None, 9, stands=False, newest=True) is b[2]


def test_a_tenant_for_whom_nobody_waits_is_forgotten_when_there_are_1024():
    line = FairQueue()
    idle = Waiter("idle")
    line.prepare(idle)
    waits = join(line, "waits")
    for number in range(1022):
        leave(line, join(line, number))
    for known in ("idle", 7):
        again = Waiter(known)
        line.prepare(again)
    assert again.tenant.round == 0
    last = Waiter("idle")
    line.prepare(last)
    assert last.tenant is idle.tenant

    line.prepare(Waiter("one more"))

    last, other = Waiter("idle"), Waiter("waits")
    line.prepare(last)
    line.prepare(other)
    assert last.tenant is not idle.tenant
    assert other.tenant is waits.tenant


def test_if_all_wait_the_next_look_is_when_there_are_twice_as_many():
    line = FairQueue()
    for number in range(1024):
        join(line, number)
    idle = Waiter("idle")
    line.prepare(idle)
    for number in range(1024, 2047):
        join(line, number)
    again = Waiter("idle")
    line.prepare(again)
    assert again.tenant is idle.tenant

    line.prepare(Waiter("one more"))

    line.prepare(again)
    assert again.tenant is not idle.tenant
