"""The batcher against a plain model that knows neither places nor tickets, only who asked for what."""

import random

import pytest

from resilience.core.batch import Batch, Batcher, Collapse, Place, Ticket
from resilience.core.batch_results import deal, fail, outcome
from resilience.errors import BatchAnswerError, ConfigError, MissingAnswerError
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
            lane, key, ticket = chance.choice([None, ("a",), ("b",)]), chance.randrange(6), Ticket()
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


def test_who_joins_and_leaves_in_many_threads_leaves_nothing_behind():
    batcher = Batcher(Collapse(max_batch=3), Batch)

    def work():
        chance = random.Random()
        for n in range(2000):
            ticket = Ticket()
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
        ticket = Ticket()
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
            ticket = Ticket()
            batcher.join(ticket, (0,), len(tickets), "asked", 0.0)
            tickets.append(ticket)
            return False

    for _ in range(2):
        tickets.append(Ticket())
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
    return [Place(key, key) for key in keys]


@over_seeds(30)
def test_random_answers_are_dealt_as_a_plain_loop_would(seed):
    chance = random.Random(seed)
    asked = places(*range(8))
    known = {n: chance.choice([n, str(n), None, KeyError(n)]) for n in range(10) if chance.random() < 0.7}

    deal("f", asked, known)

    for place in asked:
        expected = known.get(place.key, MissingAnswerError)
        if expected is MissingAnswerError or isinstance(expected, Exception):
            with pytest.raises(expected if isinstance(expected, type) else KeyError) as caught:
                outcome(place)
            assert place.key == (caught.value.item if expected is MissingAnswerError else caught.value.args[0])
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
        with pytest.raises(BatchAnswerError, match=f"module.load: .*{words}"):
            outcome(place)


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

    with pytest.raises(MissingAnswerError) as caught:
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
