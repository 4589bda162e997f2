"""The store of a cache beside a plain list of answers."""

import math
import random
import threading

import pytest

from resilience import Cache, ConfigError
from resilience.core.cache import Store
from tests.interrupts import interrupted
from tests.seeds import over_seeds


class Answer:
    """One that is kept, as the model sees it."""

    def __init__(self, key, value, at, error=None):
        self.key, self.value, self.at, self.error, self.tried = key, value, at, error, None


class Model:
    """Answers in a list, least recently used first; slow, and plainly right."""

    def __init__(self, policy):
        self.policy, self.kept = policy, []

    def age_left(self, answer, now):
        return math.inf if self.policy.ttl is None else answer.at + self.policy.ttl - now

    def is_dead(self, answer, now):
        stale = 0.0 if answer.error else self.policy.stale_if_error
        return self.age_left(answer, now) + stale <= 0

    def find(self, key):
        return next((answer for answer in self.kept if answer.key == key), None)

    def used(self, answer):
        self.kept.remove(answer)
        self.kept.append(answer)
        return answer

    def get(self, key, now):
        answer = self.find(key)
        return None if answer is None or self.age_left(answer, now) <= 0 else self.used(answer)

    def stale(self, key, now):
        answer = self.find(key)
        if answer is None or answer.error or not self.policy.stale_if_error or self.is_dead(answer, now):
            return None
        return self.used(answer)

    def is_due(self, answer, now):
        """In the last part of its life, and not just after somebody has tried."""
        ahead = self.policy.refresh_ahead
        if not ahead:
            return False
        pause = 0.0 if answer.tried is None else answer.tried + ahead / 10
        return self.age_left(answer, now) <= ahead and now >= pause

    def put(self, answer, instead_of=None):
        there = self.find(answer.key)
        if instead_of is not None and there is not instead_of:
            return
        self.drop(answer.key)
        self.kept.append(answer)
        for _ in range(2):  # what is of no use any more, among the least recently used
            if self.is_dead(self.kept[0], answer.at):
                del self.kept[0]
            else:
                break
        del self.kept[: -self.policy.max_size]

    def drop(self, key, only=None):
        self.kept = [answer for answer in self.kept if answer.key != key or (only is not None and answer is not only)]


def some_policy(rng):
    ttl = rng.choice([None, 0.5, 1.0, 4.0])
    return Cache(ttl=ttl, max_size=rng.randrange(1, 8), stale_if_error=rng.choice([0.0, 0.25, 2.0]),
                 refresh_ahead=0.0 if ttl is None else rng.choice([0.0, ttl / 4, ttl / 2]),
                 copy=rng.choice([None, None, list]))


@over_seeds(300)
def test_any_history_answers_as_a_plain_list_does(seed):
    rng, now = random.Random(seed), 0.0
    policy = some_policy(rng)
    store, model = Store(policy), Model(policy)
    epochs, pairs = [store.epoch], {}  # every entry that ever was, by the model's answer for it

    def same(entry, answer):
        assert (entry is None) == (answer is None)
        assert entry is None or pairs[answer] is entry

    def put(epoch, error, only):
        answer = Answer(key, step, now, error)
        entry = None if only is None else pairs.get(only)
        store.put(key, step, now, epoch, error, entry)
        if epoch == store.epoch:
            model.put(answer, only)
            if answer in model.kept:
                pairs[answer] = store.find(key)

    for step in range(400):
        now += rng.choice([0.0, 0.0, 0.125, 0.25 * rng.randrange(8)])  # sums without rounding
        key, dice = (rng.randrange(10),), rng.random()
        if dice < 0.25:
            same(store.get(key, now), model.get(key, now))
        elif dice < 0.4:
            same(store.stale(key, now), model.stale(key, now))
        elif dice < 0.5 and pairs:
            answer = rng.choice(list(pairs))  # thrown out long ago, perhaps
            if answer in model.kept:
                claimed = store.claim(pairs[answer], now)
                assert claimed == model.is_due(answer, now)
                if claimed:
                    answer.tried = now
        elif dice < 0.8:
            put(rng.choice(epochs), KeyError() if rng.random() < 0.2 else None, None)
        elif dice < 0.87 and pairs:
            only = rng.choice(list(pairs))
            key = only.key
            put(store.epoch, None, only)
        elif dice < 0.9:
            only = rng.choice([None, *pairs])
            key = key if only is None else only.key
            epoch = rng.choice(epochs)
            store.drop(key, epoch, None if only is None else pairs[only])
            if epoch == store.epoch:
                model.drop(key, only)
        elif dice < 0.95:
            policy = some_policy(rng)
            store.configure(policy)
            model.policy = policy
            for answer in model.kept:
                answer.tried = None
            del model.kept[: -policy.max_size]
        else:
            store.clear()
            model.kept.clear()
            epochs.append(store.epoch)
        assert len(model.kept) == len(store) <= policy.max_size
        for answer in model.kept:  # what the first look goes by
            entry = pairs[answer]
            assert answer.value == entry.value
            assert (now < entry.until) == (answer.error is None and policy.copy is None
                                           and model.age_left(answer, now) > 0 and not model.is_due(answer, now))


def test_of_an_expired_answer_only_the_failed_call_hears_and_only_within_its_time():
    store = Store(Cache(ttl=5.0, stale_if_error=2.0))
    store.put(("a",), 1, 0.0, store.epoch)
    assert (None, 1) == (store.get(("a",), 5.0), store.stale(("a",), 5.0).value)
    assert 1 == store.stale(("a",), 6.9).value
    assert None is store.stale(("a",), 7.0)


def test_an_expired_answer_goes_when_it_may_not_even_stand_in_any_more():
    store = Store(Cache(ttl=5.0, stale_if_error=2.0))
    store.put(("a",), 1, 0.0, store.epoch)
    store.put(("b",), 1, 6.9, store.epoch)
    assert 2 == len(store)
    store.put(("c",), 1, 7.0, store.epoch)
    assert [("b",), ("c",)] == list(store._entries)


def test_a_refresh_is_tried_ten_times_at_most_however_many_hits_there_are():
    store = Store(Cache(ttl=100.0, refresh_ahead=10.0))
    store.put(("a",), 1, 0.0, store.epoch)
    entry = store.find(("a",))
    claims = [now / 64 for now in range(6400) if store.claim(entry, now / 64)]
    assert (90.0, 10) == (claims[0], len(claims))


def test_what_is_kept_stays_bounded_and_the_expired_ones_go_among_a_hundred_thousand_keys():
    store = Store(Cache(ttl=1.0, stale_if_error=4.0, refresh_ahead=0.5, max_size=20_000))
    most = 0
    for key in range(100_000):
        store.put((key,), key, key / 1024, store.epoch)
        most = max(most, len(store))
    assert most == len(store) == 5 * 1024  # five seconds' worth: one of life, four of standing in


@pytest.mark.parametrize("end", [Store.clear, Store.renew])
def test_an_answer_whose_execution_began_before_the_clearing_is_not_kept(end):
    store = Store(Cache(ttl=5.0))
    epoch = store.epoch
    end(store)
    store.put(("a",), 1, 1.0, epoch)
    assert None is store.get(("a",), 1.0)
    store.put(("a",), 2, 1.0, store.epoch)
    assert 2 == store.get(("a",), 1.0).value


def test_an_exception_is_no_value_and_is_kept_as_one():
    store = Store(Cache(ttl=5.0))
    error = KeyError("a")
    store.put(("a",), False, 1.0, store.epoch, error)
    entry = store.get(("a",), 2.0)
    assert (error, -math.inf) == (entry.error, entry.until)  # who looks for values alone passes it by
    assert None is store.get(("a",), 6.0)


def test_the_dict_and_the_order_never_differ_under_threads():
    store, stop, failed = Store(Cache(ttl=0.5, max_size=50)), threading.Event(), []

    def work(seed):
        rng = random.Random(seed)
        try:
            for _ in range(4000):
                key, now = (rng.randrange(100),), rng.random() * 2
                if rng.random() < 0.5:
                    store.get(key, now)
                elif rng.random() < 0.98:
                    store.put(key, key, now, store.epoch)
                else:
                    store.clear()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stop.set()
    assert [] == failed
    assert set(store._entries.values()) == set(store._order)
    assert all(entry.key == key for key, entry in store._entries.items())
    assert len(store) <= 50


def test_an_interrupt_anywhere_leaves_the_dict_and_the_order_alike():
    rng, store = random.Random(1), Store(Cache(ttl=None, max_size=3))

    def work():
        for _ in range(3):
            store.put((rng.randrange(6),), 1, 0.0, store.epoch)

    for _ in interrupted(work):
        assert set(store._entries.values()) <= set(store._order)
        store.put(("x",), 1, 0.0, store.epoch)
        store.put(("y",), 1, 0.0, store.epoch)
        assert len(store) <= len(store._order) <= 3


def test_what_is_thrown_out_may_do_as_it_likes_when_it_dies():
    store, seen = Store(Cache(max_size=1)), []

    class Answer:
        def __del__(self):
            store.put(("from a finalizer",), 1, 0.0, store.epoch)
            seen.append(len(store))

    store.put(("a",), Answer(), 0.0, store.epoch)
    store.put(("b",), 1, 0.0, store.epoch)
    assert [1] == seen


@pytest.mark.parametrize(("key", "size"), [(("a",), 2), (("c",), 1)])  # replaced, or thrown out
def test_what_is_thrown_out_dies_when_others_may_use_the_store(key, size):
    store, waited = Store(Cache(max_size=size)), []

    class Answer:
        def __del__(self):
            thread = threading.Thread(target=store.put, args=(("b",), 1, 0.0, store.epoch), daemon=True)
            thread.start()
            thread.join(30)
            waited.append(thread.is_alive())

    store.put(("a",), Answer(), 0.0, store.epoch)
    store.put(key, 1, 0.0, store.epoch)
    assert [False] == waited


def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have():
    store, held, free = Store(Cache()), threading.Event(), threading.Event()

    def hold():
        with store._lock:
            held.set()
            free.wait(60)

    holder, child = threading.Thread(target=hold), threading.Thread(target=store.renew, daemon=True)
    holder.start()
    held.wait(60)
    child.start()
    child.join(30)
    stuck = child.is_alive()
    free.set()
    holder.join(60)
    assert not stuck


def test_an_answer_is_gone_from_the_moment_on_until_which_it_is_good():
    store = Store(Cache(ttl=5.0))
    store.put(("a",), 1, 0.0, store.epoch)
    store.put(("b",), 1, 4.9, store.epoch)
    assert 2 == len(store)
    store.put(("c",), 1, 5.0, store.epoch)
    assert [("b",), ("c",)] == list(store._entries)


def test_of_two_equal_keys_the_first_is_kept():
    store, first, second = Store(Cache()), (1,), (1.0,)
    store.put(first, "a", 0.0, store.epoch)
    store.put(second, "b", 0.0, store.epoch)
    assert first is store.find(second).key


def test_an_answer_that_another_thread_replaced_meanwhile_is_not_what_is_thrown_out():
    store = Store(Cache())
    store.put(("a",), 1, 0.0, store.epoch)
    stale = store.find(("a",))
    store.put(("a",), 2, 0.0, store.epoch)
    store.find = lambda key: stale  # it was looked up before
    store.put(("a",), 3, 0.0, store.epoch)
    assert [3] == [entry.value for entry in store._order]
    assert 3 == store._entries[("a",)].value


@pytest.mark.parametrize(("settings", "name"), [
    ({"ttl": 0}, "ttl"), ({"ttl": math.inf}, "ttl"), ({"ttl": 31_536_001}, "ttl"), ({"max_size": 0}, "max_size"),
    ({"max_size": 1.5}, "max_size"), ({"max_size": 10_000_001}, "max_size"), ({"scope": "global"}, "scope"),
    ({"by": 3}, "by"), ({"cache_none": 1}, "cache_none"), ({"cache_exceptions": (BaseException,)}, "cache_exceptions"),
    ({"cache_exceptions": KeyError("a")}, "cache_exceptions"), ({"time": 1}, "time"),
    ({"stale_if_error": -1}, "stale_if_error"), ({"stale_if_error": None}, "stale_if_error"),
    ({"refresh_ahead": math.inf}, "refresh_ahead"), ({"refresh_ahead": 60.0}, "refresh_ahead"),
    ({"ttl": None, "refresh_ahead": 1.0}, "refresh_ahead"), ({"copy": 1}, "copy"), ({"copy": "copy:nothing"}, "copy"),
])
def test_nonsense_is_refused_by_name(settings, name):
    with pytest.raises(ConfigError, match=name) as caught:
        Cache(**settings)
    assert name == caught.value.option


@pytest.mark.parametrize(("ttl", "why"), [(None, "nothing expires without a ttl"), (5.0, "its ttl is 5.0")])
def test_a_refresh_that_could_never_be_or_would_always_be_due_is_refused_with_the_reason(ttl, why):
    with pytest.raises(ConfigError, match=f"refresh_ahead must be less than ttl, not 5.0: .*{why}"):
        Cache(ttl=ttl, refresh_ahead=5.0)
