"""The batcher against a plain model that knows neither places nor tickets, only who asked for what."""

import random

import pytest

from resilience.core.batch import Batch, Batcher, BatchPlace, BatchTicket, Collapse
from resilience.core.batch_results import deal, fail, outcome
from resilience.errors import BatchResultError, ConfigError, MissingResultError
from tests.core.hammer import hammer
from tests.seeds import over_seeds


class Model:
    """Batches in the plainest words: each is a list of keys, in order, with who waits for each."""

    def __init__(self, config):
        self.config, self.batches, self.open = config, [], {}

    def join(self, caller, lane, key, now):
        batch = self.open.get(lane)
        if batch is None:
            batch = {"due": now if lane is None else now + self.config.window, "asked": [], "begun": False}
            self.batches.append(batch)
            if lane is not None:
                self.open[lane] = batch
        for each, callers in batch["asked"]:
            if each == key:
                callers.add(caller)
                break
        else:
            batch["asked"].append((key, {caller}))
        if len(batch["asked"]) == self.config.max_batch:
            self.close(batch)
        return batch

    def leave(self, caller, batch):
        for _, callers in batch["asked"]:
            callers.discard(caller)
        if not batch["begun"]:
            batch["asked"] = [(key, callers) for key, callers in batch["asked"] if callers]
        if not batch["asked"]:
            self.close(batch)
        return sum(len(callers) for _, callers in batch["asked"])

    def take(self, batch):
        self.close(batch)
        batch["begun"] = True
        return [key for key, callers in batch["asked"] if callers]

    def close(self, batch):
        self.open = {lane: each for lane, each in self.open.items() if each is not batch}


@over_seeds(60)
def test_random_histories_make_the_batches_of_the_model(seed):
    chance = random.Random(seed)
    config = Collapse(window=chance.choice([0, 0.5, 3.0]), max_batch=chance.choice([1, 2, 3, 50]))
    batcher, model = Batcher(config, Batch), Model(config)
    tickets, twins, now = [], {}, 0.0  # of each batch its twin in the model
    for _ in range(300):
        now += chance.choice([0.0, 0.1, 1.0])
        deed = chance.random()
        if deed < 0.55:
            lane, key, ticket = chance.choice([None, ("a",), ("b",)]), chance.randrange(6), BatchTicket()
            batcher.join(ticket, lane, key, f"item {key}", now)
            twin = model.join(len(tickets), lane, key, now)
            tickets.append(ticket)
            assert twin is twins.setdefault(ticket.batch, twin)
            assert f"item {key}" == ticket.place.item
        elif deed < 0.85 and tickets:
            caller = chance.randrange(len(tickets))
            batch = tickets[caller].batch
            assert model.leave(caller, twins[batch]) == batcher.leave(tickets[caller])
        elif twins:
            batch = chance.choice(list(twins))
            assert model.take(twins[batch]) == [place.key for place in batcher.take(batch)]
        for batch, twin in twins.items():
            assert (twin["due"], twin not in model.open.values()) == (batch.due, batch.closed)
        assert len(model.open) == batcher.open
    assert len(model.batches) == len(twins) == len(set(map(id, twins.values())))


def joined(batcher, lane, key, now=0.0, kept=None):
    ticket = BatchTicket()
    batcher.join(ticket, lane, key, f"item {key}", now, kept)
    return ticket


def test_what_is_new_is_empty():
    ticket, batch, place = BatchTicket(), Batch(("a",), "kept"), BatchPlace(1, "one")

    assert (None, None) == (ticket.batch, ticket.place)
    assert (("a",), "kept", 0.0, False, False, False, 0, 0, {}, {}) == (
        batch.lane, batch.kept, batch.due, batch.entered, batch.closed, batch.begun, batch.callers, batch.size, batch.places,
        batch.index)
    assert (1, "one", 0, None) == (place.key, place.item, place.callers, place.error)


def test_a_batch_is_open_in_its_lane_until_it_is_full_taken_or_left():
    batcher = Batcher(Collapse(max_batch=2, window=0.5), Batch)
    first = joined(batcher, ("a",), 1, 1.0, "kept")
    assert (first.batch, 1.5, "kept", None) == (batcher.open_in(("a",)), first.batch.due, first.batch.kept, batcher.open_in(("b",)))
    full = joined(batcher, ("a",), 2, 1.25)
    assert (first.batch, None, 1.5) == (full.batch, batcher.open_in(("a",)), full.batch.due)
    taken = joined(batcher, ("a",), 3)
    batcher.take(taken.batch)
    assert batcher.open_in(("a",)) is None
    left = joined(batcher, ("a",), 4)
    assert left.batch is batcher.open_in(("a",))
    assert 0 == batcher.leave(left)
    assert batcher.open_in(("a",)) is None


def test_equal_items_share_a_place_that_is_asked_for_as_long_as_one_of_them_waits():
    batcher = Batcher(Collapse(), Batch)
    one, twin, other = joined(batcher, ("a",), 1), joined(batcher, ("a",), 1), joined(batcher, ("a",), 2)
    batch = one.batch
    assert (one.place, 2, 3) == (twin.place, batch.size, batch.callers)
    assert 2 == batcher.leave(one)
    assert (2, [twin.place, other.place]) == (batch.size, list(batch.places))
    assert 1 == batcher.leave(twin)
    assert (1, [other.place]) == (batch.size, list(batch.places))
    assert [1, 1] == [batcher.leave(twin), batcher.leave(one)]  # twice is once
    again = joined(batcher, ("a",), 1)
    assert (2, [other.place, again.place]) == (batch.size, batcher.take(batch))


def test_who_leaves_a_batch_that_has_begun_changes_nothing_about_what_is_asked_for():
    batcher = Batcher(Collapse(), Batch)
    one, two = joined(batcher, ("a",), 1), joined(batcher, ("a",), 2)
    places = batcher.take(one.batch)
    assert (True, True, 1) == (one.batch.begun, one.batch.closed, batcher.leave(one))
    assert ([two.place], 2) == (batcher.take(one.batch), len(places))
    assert (2, 2) == (len(one.batch.places), one.batch.size)


def test_without_a_lane_each_call_has_a_batch_of_its_own_that_is_due_at_once():
    batcher = Batcher(Collapse(window=0.5), Batch)
    one, two = joined(batcher, None, 1, 1.0), joined(batcher, None, 1, 2.0)

    assert (True, 1.0, 2.0, 0) == (one.batch is not two.batch, one.batch.due, two.batch.due, batcher.open)
    assert [1, 1] == [len(batcher.take(ticket.batch)) for ticket in (one, two)]


def test_who_never_joined_leaves_nothing():
    assert 0 == Batcher(Collapse(), Batch).leave(BatchTicket())


def test_in_a_forked_child_nothing_is_open():
    batcher = Batcher(Collapse(), Batch)
    before = joined(batcher, ("a",), 1)
    lock = batcher._lock
    batcher.renew()

    assert (0, True) == (batcher.open, batcher._lock is not lock)
    assert before.batch is not joined(batcher, ("a",), 1).batch


def test_who_finds_the_batch_closed_or_another_opened_meanwhile_looks_again():
    batcher = Batcher(Collapse(max_batch=2), Batch)
    first = joined(batcher, ("a",), 1)

    class Late:
        """Compared with an item of the batch before its caller is in."""

        def __init__(self, meanwhile):
            self.meanwhile = meanwhile

        def __hash__(self):
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                meanwhile()
            return 7

    late = joined(batcher, ("a",), Late(lambda: batcher.take(first.batch)))
    assert (True, [late.place]) == (late.batch is not first.batch, batcher.take(late.batch))
    rivals = []
    later = joined(batcher, ("a",), Late(lambda: rivals.append(joined(batcher, ("a",), 2))))
    assert ([later.batch], 2) == ([rival.batch for rival in rivals], len(batcher.take(later.batch)))


def test_who_joins_and_leaves_in_many_threads_leaves_nothing_behind():
    batcher = Batcher(Collapse(max_batch=3), Batch)

    def work():
        chance = random.Random()
        for n in range(2000):
            ticket = BatchTicket()
            batcher.join(ticket, chance.choice([None, (0,), (1,)]), chance.randrange(4), n, 0.0)
            if chance.random() < 0.3:
                taken = batcher.take(ticket.batch)
                assert ticket.place in taken
                assert 3 >= len(taken)
            batcher.leave(ticket)
            batcher.leave(ticket)

    hammer(work)

    assert 0 == batcher.open


def test_user_code_that_compares_items_runs_under_no_lock():
    batcher, free = Batcher(Collapse(), Batch), []

    class Item:
        def __hash__(self):
            free.append(not batcher._lock._is_owned())
            return 7

        def __eq__(self, other):
            free.append(not batcher._lock._is_owned())
            return False

    for _ in range(3):
        ticket = BatchTicket()
        batcher.join(ticket, (0,), Item(), None, 0.0)
    batcher.take(ticket.batch)
    batcher.leave(ticket)

    assert {True} == set(free)


def test_an_item_that_compares_by_asking_for_another_is_in_the_batch_once():
    batcher, tickets = Batcher(Collapse(max_batch=2), Batch), []

    class Asking:
        def __hash__(self):
            return 7

        def __eq__(self, other):
            ticket = BatchTicket()
            batcher.join(ticket, (0,), len(tickets), "asked", 0.0)
            tickets.append(ticket)
            return False

    for _ in range(2):
        tickets.append(BatchTicket())
        batcher.join(tickets[-1], (0,), Asking(), "asking", 0.0)
    for ticket in tickets:
        assert [ticket.place] == [place for place in batcher.take(ticket.batch) if place is ticket.place]
        assert 2 >= len(ticket.batch.places)
    for ticket in tickets:
        batcher.leave(ticket)

    assert 0 == batcher.open


@pytest.mark.parametrize(("settings", "words"), [
    (dict(window=-0.001), "window must be a number at least 0 and at most 60"),
    (dict(window=61), "window must be a number at least 0 and at most 60"),
    (dict(max_batch=0), "max_batch must be a whole number at least 1"),
    (dict(max_batch=1.5), "max_batch must be a whole number"),
    (dict(scope="process"), 'scope must be one of global, request'),
    (dict(key="id"), "key must be callable or None"),
    (dict(windw=1), "did you mean window"),
])
def test_a_setting_out_of_range_is_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        Collapse(**settings)


def places(*keys):
    return [BatchPlace(key, key) for key in keys]


@over_seeds(30)
def test_random_answers_are_dealt_as_a_plain_loop_would(seed):
    chance = random.Random(seed)
    asked = places(*range(8))
    known = {n: chance.choice([n, str(n), None, KeyError(n)]) for n in range(10) if chance.random() < 0.7}

    deal("f", asked, known)

    for place in asked:
        expected = known.get(place.key, MissingResultError)
        if expected is MissingResultError or isinstance(expected, Exception):
            with pytest.raises(expected if isinstance(expected, type) else KeyError) as caught:
                outcome(place)
            assert place.key == (caught.value.item if expected is MissingResultError else caught.value.args[0])
        else:
            assert expected is outcome(place)


@pytest.mark.parametrize(("answers", "words"), [
    ([1], "1 answers to 2 items"),
    ([1, 2, 3], "3 answers to 2 items"),
    (None, "a mapping or a sequence was expected, not NoneType"),
    ("ab", "not str"),
    (iter([1, 2]), "not list_iterator"),
    ({1, 2}, "not set"),
])
def test_what_cannot_be_dealt_out_is_everybodys_error_and_says_why(answers, words):
    asked = places(1, 2)

    deal("module.load", asked, answers)

    for place in asked:
        with pytest.raises(BatchResultError, match=f"module.load: .*{words}"):
            outcome(place)


def test_a_sequence_answers_in_the_order_in_which_was_asked_and_an_interrupted_attempt_leaves_no_error():
    asked = places(1, 2)
    fail(asked, OSError("interrupted"))

    deal("f", asked, ["one", None])

    assert ["one", None] == [outcome(place) for place in asked]


def test_a_sequence_that_holds_more_than_it_says_is_no_answer():
    class Lying(list):
        def __len__(self):
            return 2

    with pytest.raises(ValueError, match="longer"):
        deal("f", places(1, 2), Lying([1, 2, 3]))


def test_an_error_of_all_keeps_no_frame_alive_but_those_it_is_to_be_raised_with():
    asked = places(1)
    try:
        raise OSError("down")
    except OSError as error:
        fail(asked, error)

    assert (None, None) == (asked[0].trace, asked[0].error.__traceback__)


def test_a_mapping_that_makes_up_what_it_lacks_is_believed():
    import collections

    asked = places("a", "b")

    deal("f", asked, collections.Counter("a"))

    assert [1, 0] == [outcome(place) for place in asked]


def test_a_mapping_that_fails_for_one_item_fails_for_that_one():
    class Lazy(dict):
        def __missing__(self, key):
            raise OSError(key)

    asked = places(1, 2)

    deal("f", asked, Lazy({1: "one"}))

    assert "one" == outcome(asked[0])
    with pytest.raises(OSError, match="2"):
        outcome(asked[1])


def test_a_cancellation_among_the_answers_is_an_answer_that_is_missing():
    """asyncio.gather(return_exceptions=True) returns it; raised, it would look as if the caller himself was cancelled."""
    import asyncio

    asked = places(1)
    deal("f", asked, [asyncio.CancelledError()])

    with pytest.raises(MissingResultError) as caught:
        outcome(asked[0])
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


def test_each_caller_raises_an_error_of_his_own_with_the_traceback_of_the_batch():
    def failing():
        error = OSError("down")
        error.add_note("noted")
        raise error from KeyError("cause")

    asked = places(1)
    try:
        failing()
    except OSError as error:
        fail(asked, error, error.__traceback__)
    raised, depths = [], []
    for _ in range(5):
        with pytest.raises(OSError, match="down") as caught:
            outcome(asked[0])
        raised.append(caught.value)
        depths.append(len(caught.traceback))

    assert 5 == len(set(map(id, raised)))
    assert 1 == len(set(depths))
    assert "failing" == caught.traceback[-1].name
    assert "KeyError('cause')" == repr(raised[0].__cause__)
    raised[0].add_note("mine")
    assert ["noted"] == raised[1].__notes__


def test_an_error_that_cannot_be_copied_is_shared_and_does_not_grow():
    class Stubborn(Exception):
        def __init__(self, one, two):
            super().__init__(one)

    asked = places(1)
    fail(asked, Stubborn(1, 2))
    depths = []
    for _ in range(5):
        with pytest.raises(Stubborn) as caught:
            outcome(asked[0])
        depths.append(len(caught.traceback))

    assert 1 == len(set(depths))
