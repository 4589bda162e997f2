"""The store of a cache beside a plain list of answers."""

import math
import random
import threading

import pytest

from resilience import Cache, ConfigError
from resilience.core.cache import Store
from tests.interrupts import interrupted
from tests.seeds import over_seeds


class Model:
    """Answers in a list, least recently used first; slow, and plainly right."""

    def __init__(self, ttl, size):
        self.ttl, self.size, self.kept = ttl, size, []  # [key, value, when it came]

    def good(self, answer, now):
        return self.ttl is None or now < answer[2] + self.ttl

    def get(self, key, now):
        for answer in self.kept:
            if answer[0] == key and self.good(answer, now):
                self.kept.remove(answer)
                self.kept.append(answer)
                return answer[1]
        return "nothing"

    def put(self, key, value, now):
        self.kept = [answer for answer in self.kept if answer[0] != key]
        self.kept.append([key, value, now])
        for _ in range(2):  # the expired among the least recently used
            if not self.good(self.kept[0], now):
                del self.kept[0]
            else:
                break
        del self.kept[: -self.size]


@over_seeds(150)
def test_any_history_answers_as_a_plain_list_does(seed):
    rng, now = random.Random(seed), 0.0
    policy = Cache(ttl=rng.choice([None, 1.0, 5.0]), max_size=rng.randrange(1, 8))
    store, model = Store(policy), Model(policy.ttl, policy.max_size)
    epochs = [store.epoch]
    for step in range(400):
        now += rng.choice([0.0, 0.0, rng.expovariate(2.0)])
        key, dice = (rng.randrange(10),), rng.random()
        if dice < 0.45:
            found = store.get(key, now)
            assert model.get(key, now) == ("nothing" if found is None else found.value)
        elif dice < 0.9:
            epoch = rng.choice(epochs)
            store.put(key, step, now, epoch)
            if epoch == store.epoch:
                model.put(key, step, now)
        elif dice < 0.95:
            policy = Cache(ttl=rng.choice([None, 0.5, 5.0]), max_size=rng.randrange(1, 8))
            store.configure(policy)
            model.ttl, model.size = policy.ttl, policy.max_size
            del model.kept[: -model.size]
        else:
            store.clear()
            model.kept.clear()
            epochs.append(store.epoch)
        assert len(model.kept) == len(store) <= policy.max_size


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
            thread.join(2)
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
    child.join(5)
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
])
def test_nonsense_is_refused_by_name(settings, name):
    with pytest.raises(ConfigError, match=name) as caught:
        Cache(**settings)
    assert name == caught.value.option
