"""Storages of the stand-in for pybreaker: breakers that share one share their circuit, also with pybreaker itself."""

import datetime
import logging
import random
import subprocess
import sys
import threading

import pybreaker as theirs
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from resilience import ConfigError, Registry
from resilience.integrations import pybreaker as ours
from resilience.testing import ManualClock
from tests.forked import forked
from tests.seeds import over_seeds

LIBRARIES = (theirs, ours)


@pytest.fixture
def told_time(their_pybreaker, clock, monkeypatch):
    """Both libraries' wall clock is the manual one, some time after 1970."""
    clock.advance(1000)
    monkeypatch.setattr("resilience.integrations.pybreaker_stored.now",
                        lambda: datetime.datetime.fromtimestamp(clock(), datetime.UTC))


@pytest.fixture
def client(redis_server):
    """A client of a real server."""
    with redis.Redis(unix_socket_path=str(redis_server[0]), retry=Retry(NoBackoff(), 0)) as client:
        yield client


def make(library, registry, **settings):
    return library.CircuitBreaker(**settings, **({"registry": registry} if library is ours else {}))


def fail(error=None):
    raise OSError("down") if error is None else error


def answer(breaker, func, *args):
    """What a call comes to: an answer, or the name of an exception."""
    try:
        return breaker.call(func, *args)
    except Exception as error:
        return type(error).__name__.replace("CircuitBreakerOpenError", "CircuitBreakerError")


def step(breaker, what):
    if what == "succeed":
        return answer(breaker, int)
    if what in ("open", "half_open", "close"):
        return getattr(breaker, what)()
    return answer(breaker, fail, {"fail": OSError("down"), "exclude": KeyError()}[what])


def looks(breaker):
    return breaker.current_state, breaker.state.name, breaker.fail_counter, breaker.success_counter


def live_through(chance, clock, storages, ticks, steps):
    """Breakers with these storages and one breaker of pybreaker: a random history, step by step alike.

    No two openings have the same time, by which one stay in a state is told from the next.
    """
    registry, states, often = Registry(clock=clock), set(), chance.choice([0.2, 1.0])
    settings = {"fail_max": chance.randint(1, 3), "reset_timeout": chance.choice([2, 5]),
                "success_threshold": chance.randint(1, 3), "exclude": [KeyError]}
    one = theirs.CircuitBreaker(**settings)
    mine = [make(ours, registry, state_storage=storage, **settings) for storage in storages]
    for number in range(steps):
        clock.advance(chance.choice(ticks))
        breaker = chance.choice(mine)
        what = chance.choice(["succeed"] * 3 + ["fail"] * 6 + ["exclude"] + ["open", "half_open", "close"] * (number % 7 == 0))
        assert (number, what, step(one, what)) == (number, what, step(breaker, what))
        for each in mine:
            if each is breaker or chance.random() < often:
                assert (number, what, *looks(one)) == (number, what, *looks(each))
        states.add(one.current_state)
    assert states >= {"closed", "open"}


@pytest.mark.usefixtures("told_time")
@over_seeds(40)
def test_breakers_with_one_storage_are_together_as_one_breaker_of_pybreaker(seed, clock):
    live_through(random.Random(seed), clock, [ours.CircuitMemoryStorage("closed")] * 3, [0.25, 0.25, 1, 3], 150)


@pytest.mark.usefixtures("told_time")
@over_seeds(5)
def test_breakers_with_storages_of_one_redis_are_together_as_one_breaker_of_pybreaker(seed, client, clock):
    client.flushall()
    live_through(random.Random(seed), clock, [ours.CircuitRedisStorage("closed", client) for _ in range(3)], [1, 1, 2, 4], 100)
    assert sorted(f"pybreaker:{name}".encode() for name in ("fail_counter", "opened_at", "state", "success_counter")) == \
        sorted(client.keys())


def test_a_breaker_that_notices_what_another_has_done_leaves_the_counters_as_they_are(registry):
    """pybreaker's sets them to 0, so that circuits with a success_threshold may stay half-open."""
    for library, counted in ((theirs, 0), (ours, 1)):
        storage, told = library.CircuitMemoryStorage("closed"), []
        first, second = (make(library, registry, success_threshold=2, state_storage=storage) for _ in range(2))
        listener = library.CircuitBreakerListener()
        listener.state_change = lambda cb, old, new, told=told: told.append((cb, old.name, new.name))
        second.add_listener(listener)
        first.half_open()
        assert (0, "half-open", counted) == (answer(first, int), second.state.name, second.success_counter)
        assert [(second, "closed", "half-open")] == told


@pytest.mark.usefixtures("told_time")
def test_a_breaker_of_pybreaker_and_one_of_ours_share_one_circuit_in_redis(client, registry, clock):
    old, new = (make(library, registry, fail_max=4, reset_timeout=10, success_threshold=2,
                     state_storage=library.CircuitRedisStorage("closed", client)) for library in LIBRARIES)
    assert ["OSError"] * 3 == [answer(each, fail) for each in (old, new, old)]
    assert (3, 3) == (old.fail_counter, new.fail_counter)
    assert "CircuitBreakerError" == answer(new, fail)
    assert ["CircuitBreakerError"] * 2 == [answer(each, int) for each in (old, new)]
    clock.advance(10)
    assert (0, "half-open", "half-open") == (answer(old, int), old.current_state, new.current_state)
    assert (0, "closed", "closed") == (answer(new, int), old.current_state, new.current_state)
    assert "OSError" == answer(new, fail)
    assert [1, 1, 0, 0] == [old.fail_counter, new.fail_counter, old.success_counter, new.success_counter]
    new.open()
    clock.advance(9)
    assert "CircuitBreakerError" == answer(old, int)


def test_a_circuit_that_another_process_opens_is_open_here(redis_server, client, registry):
    breaker = ours.CircuitBreaker(state_storage=ours.CircuitRedisStorage("closed", client), registry=registry)
    assert 0 == breaker.call(int)
    opens = f"""
import redis
from resilience.integrations.pybreaker import CircuitBreaker, CircuitBreakerError, CircuitRedisStorage
breaker = CircuitBreaker(state_storage=CircuitRedisStorage("closed", redis.Redis(unix_socket_path={str(redis_server[0])!r})))
for _ in range(5):
    try:
        breaker.call(int, "x")
    except (ValueError, CircuitBreakerError):
        pass
"""
    subprocess.run([sys.executable, "-c", opens], check=True, timeout=60)
    assert ("open", 5) == (breaker.current_state, breaker.fail_counter)
    with pytest.raises(ours.CircuitBreakerError):
        breaker.call(int)


def test_a_forked_child_follows_the_storage_though_its_own_circuit_begins_closed(client, registry):
    breaker = ours.CircuitBreaker(state_storage=ours.CircuitRedisStorage("closed", client), registry=registry)
    breaker.open()
    held, forked_off = threading.Event(), threading.Event()

    def hold():
        with breaker._lock:
            held.set()
            forked_off.wait(60)

    def child():
        assert "CircuitBreakerError" == answer(breaker, int)
        breaker.close()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        assert 0 == forked(child)
    finally:
        forked_off.set()
        thread.join(10)
    assert "closed" == breaker.current_state


@pytest.mark.usefixtures("told_time")
def test_a_probe_that_fails_elsewhere_makes_everybody_wait_anew(registry, clock):
    storage = ours.CircuitMemoryStorage("closed")
    first, second = (ours.CircuitBreaker(reset_timeout=10, state_storage=storage, registry=registry) for _ in range(2))
    first.open()
    assert "open" == second.current_state
    clock.advance(10)
    assert "CircuitBreakerError" == answer(first, fail)
    clock.advance(9.5)
    assert "CircuitBreakerError" == answer(second, int)
    clock.advance(0.5)
    assert (0, "closed") == (answer(second, int), first.current_state)


def test_a_probe_of_an_outage_that_is_over_does_not_count_in_the_next(registry, clock):
    storage = ours.CircuitMemoryStorage("closed")
    first, second = (ours.CircuitBreaker(success_threshold=2, state_storage=storage, registry=registry) for _ in range(2))
    first.half_open()
    probe = first.calling()
    probe.__enter__()
    second.open()
    second.half_open()
    assert 0 == first.call(int)
    probe.__exit__(None, None, None)
    assert ("half-open", 1) == (second.current_state, second.success_counter)


def test_a_storage_keeps_what_it_counted_before_there_was_a_breaker(registry):
    for library in LIBRARIES:
        storage = library.CircuitMemoryStorage("closed")
        storage.increment_counter()
        breaker = make(library, registry, fail_max=2, state_storage=storage)
        assert ("closed", 1) == (breaker.current_state, breaker.fail_counter)
        assert "CircuitBreakerError" == answer(breaker, fail)
        assert ("open", 2) == (storage.state, storage.counter)
        assert isinstance(storage.opened_at, datetime.datetime)
        assert "memory" == storage.name


class Shelf(ours.CircuitBreakerStorage):
    """A storage of the user's, on a dict."""

    def __init__(self, shelf):
        super().__init__("shelf")
        self.shelf = shelf
        shelf.update(state="closed", failures=0, successes=0, opened_at=None)

    @property
    def state(self):
        return self.shelf["state"]

    @state.setter
    def state(self, state):
        self.shelf["state"] = state

    @property
    def opened_at(self):
        return self.shelf["opened_at"]

    @opened_at.setter
    def opened_at(self, opened_at):
        self.shelf["opened_at"] = opened_at

    @property
    def counter(self):
        return self.shelf["failures"]

    @property
    def success_counter(self):
        return self.shelf["successes"]

    def increment_counter(self):
        self.shelf["failures"] += 1

    def reset_counter(self):
        self.shelf["failures"] = 0

    def increment_success_counter(self):
        self.shelf["successes"] += 1

    def reset_success_counter(self):
        self.shelf["successes"] = 0


class Broken(Shelf):
    """A storage that stops working."""

    broken = False

    @property
    def state(self):
        return self.shelf[self.broken or "state"]

    @state.setter
    def state(self, state):
        self.shelf[self.broken or "state"] = state

    def reset_counter(self):
        self.shelf["failures"] = 0 * self.shelf[self.broken or "failures"]

    def increment_counter(self):
        self.shelf["failures"] += 1 + 0 * self.shelf[self.broken or "failures"]


def test_a_storage_of_the_users_decides(registry):
    shelf = {}
    breaker = ours.CircuitBreaker(fail_max=3, state_storage=Shelf(shelf), registry=registry)
    assert ["OSError", "OSError"] == [answer(breaker, fail), answer(breaker, fail)]
    shelf["failures"] = 0  # another process had a success
    assert ["OSError", "OSError", "CircuitBreakerError"] == [answer(breaker, fail) for _ in range(3)]
    assert "open" == shelf["state"]
    shelf["state"] = "closed"
    assert 0 == answer(breaker, int)
    shelf.update(state="open", opened_at=datetime.datetime(2000, 1, 1))  # without a zone: UTC
    assert ("open", 0, "closed") == (breaker.current_state, answer(breaker, int), breaker.current_state)
    shelf.update(state="open", opened_at=datetime.datetime.now(datetime.UTC).replace(tzinfo=None))
    assert "CircuitBreakerError" == answer(breaker, int)


async def test_calls_of_every_flavour_follow_the_storage(registry):
    shelf = {}
    breaker = ours.CircuitBreaker(state_storage=Shelf(shelf), registry=registry)

    @breaker
    async def fetch():
        return 1

    @breaker
    def items():
        yield 1

    @breaker
    async def stream():
        yield 1

    assert (1, [1], [1]) == (await fetch(), list(items()), [item async for item in stream()])
    shelf.update(state="open", opened_at=datetime.datetime.now(datetime.UTC))
    with pytest.raises(ours.CircuitBreakerError):
        await fetch()
    with pytest.raises(ours.CircuitBreakerError):
        list(items())
    with pytest.raises(ours.CircuitBreakerError):
        [item async for item in stream()]
    with pytest.raises(ours.CircuitBreakerError), breaker.calling():
        raise AssertionError("it ran")


def test_a_storage_that_raises_is_logged_and_replaces_no_answer_and_no_exception(registry, caplog):
    storage = Broken({})
    breaker = ours.CircuitBreaker(name="db", fail_max=1, state_storage=storage, registry=registry)
    storage.broken = "no such thing"
    with caplog.at_level(logging.ERROR, "resilience"):
        assert (0, "OSError", 0) == (answer(breaker, int), answer(breaker, fail), answer(breaker, int))
        assert "closed" == breaker.current_state
        breaker.open()
        assert "CircuitBreakerError" == answer(breaker, int)
    assert {"the storage of db raised; its circuit goes on by what it knows"} == set(caplog.messages)
    storage.broken = False
    breaker.close()
    assert "CircuitBreakerError" == answer(breaker, fail)


def test_an_interrupt_while_the_storage_is_asked_reaches_the_caller_and_holds_nothing(registry):
    storage, interrupts = Shelf({}), []

    class Interrupted(Shelf):
        @property
        def state(self):
            if interrupts:
                raise interrupts.pop()
            return super().state

        @state.setter
        def state(self, state):
            Shelf.state.fset(self, state)

    storage = Interrupted({})
    breaker = ours.CircuitBreaker(state_storage=storage, registry=registry)
    breaker.half_open()
    for _ in range(3):
        interrupts.append(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            breaker.call(int)
    thread = threading.Thread(target=breaker.call, args=(int,))
    thread.start()
    thread.join(10)
    assert ("closed", 0) == (breaker.current_state, breaker.resilience.snapshot().in_flight)


@pytest.mark.parametrize(("fallback", "answers"), [("closed", [0, "OSError", 0]), ("open", ["CircuitBreakerError"] * 3)])
def test_without_its_redis_a_breaker_is_in_the_fallback_state(fallback, answers, redis_server, client, registry, caplog):
    storage = ours.CircuitRedisStorage("closed", client, fallback_circuit_state=fallback)
    breaker = ours.CircuitBreaker(fail_max=1, reset_timeout=0 if fallback == "closed" else 60, state_storage=storage,
                                  registry=registry)
    assert 0 == breaker.call(int)
    if fallback == "open":
        storage.opened_at = datetime.datetime.now(datetime.UTC)
    redis_server[1].kill()
    redis_server[1].wait(10)
    with caplog.at_level(logging.ERROR, "resilience"):
        assert fallback == breaker.current_state
        assert (0, 0, None) == (breaker.fail_counter, breaker.success_counter, storage.opened_at)
        if fallback == "closed":
            assert answers == [answer(breaker, int), answer(breaker, fail), answer(breaker, int)]
    assert any(f"Redis could not be asked for the circuit at pybreaker; it goes on as {fallback}" == each
               for each in caplog.messages)


def test_what_redis_has_lost_begins_anew_in_the_fallback_state(client, registry):
    client = redis.Redis(connection_pool=redis.ConnectionPool(
        connection_class=redis.UnixDomainSocketConnection, path=client.connection_pool.connection_kwargs["path"],
        decode_responses=True))
    storage = ours.CircuitRedisStorage("closed", client, fallback_circuit_state="half-open", namespace="shop")
    breaker = ours.CircuitBreaker(state_storage=storage, registry=registry)
    assert ("OSError", 1) == (answer(breaker, fail), breaker.fail_counter)
    client.flushall()
    assert ("half-open", 0, "half-open") == (breaker.current_state, breaker.fail_counter, client.get("shop:pybreaker:state"))
    client.close()


@pytest.mark.parametrize("cluster", [False, True])
def test_the_latest_opening_stands_in_redis(cluster, client):
    storage = ours.CircuitRedisStorage("closed", client, cluster_mode=cluster)
    assert storage.opened_at is None
    late, early = (datetime.datetime(2030, 1, day, 12, tzinfo=datetime.UTC) for day in (2, 1))
    storage.opened_at = late
    storage.opened_at = early
    assert (late, "redis") == (storage.opened_at, storage.name)


def test_what_an_operator_forces_is_not_stored_and_the_stored_state_holds_again_afterwards(registry):
    storage = ours.CircuitMemoryStorage("closed")
    first, second = (ours.CircuitBreaker(state_storage=storage, registry=registry) for _ in range(2))
    first.resilience.force_open()
    assert ("open", "closed", "closed") == (first.current_state, second.current_state, storage.state)
    assert ("CircuitBreakerError", 0) == (answer(first, int), answer(second, int))
    second.open()
    first.resilience.force_closed()
    assert (0, "closed", "open") == (answer(first, int), first.current_state, second.current_state)
    first.resilience.release()
    assert ("open", "CircuitBreakerError") == (first.current_state, answer(first, int))
    second.close()
    assert (0, "closed") == (answer(first, int), first.current_state)


@pytest.mark.parametrize("wrong", [object(), "memory", ours.CircuitMemoryStorage])
def test_what_is_no_storage_is_refused(wrong, registry):
    if wrong is ours.CircuitMemoryStorage:
        wrong = type("Old", (), {name: None for name in ("state", "counter")})()
    with pytest.raises(ConfigError, match="lacks .*success_counter") as refused:
        ours.CircuitBreaker(state_storage=wrong, registry=registry)
    assert ("state_storage", 0) == (refused.value.option, len(registry))


def test_a_state_that_there_is_not_is_refused_wherever_it_is_said(client, registry):
    for make_it in (lambda: ours.CircuitMemoryStorage("ajar"), lambda: ours.CircuitRedisStorage("ajar", client),
                    lambda: ours.CircuitRedisStorage("closed", client, fallback_circuit_state="ajar")):
        with pytest.raises(ValueError, match="not 'ajar'"):
            make_it()
    storage = ours.CircuitMemoryStorage("closed")
    storage.state = "ajar"
    with pytest.raises(ValueError, match="not 'ajar'"):
        ours.CircuitBreaker(state_storage=storage, registry=registry)
    assert 0 == len(registry)


def test_the_base_of_storages_has_what_pybreakers_has_and_says_what_is_left_to_do():
    public = {name for name in vars(theirs.CircuitBreakerStorage) if name[0] != "_"}
    for mine in (ours.CircuitBreakerStorage, ours.CircuitMemoryStorage, ours.CircuitRedisStorage):
        assert public <= set(dir(mine))
    storage = ours.CircuitBreakerStorage("bare")
    storage.increment_counter(), storage.reset_counter(), storage.increment_success_counter(), storage.reset_success_counter()
    for name in ("state", "counter", "success_counter", "opened_at"):
        with pytest.raises(NotImplementedError):
            getattr(storage, name)
    for name in ("state", "opened_at"):
        with pytest.raises(NotImplementedError):
            setattr(storage, name, None)


def test_a_redis_storage_without_redis_py_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis.exceptions", None)
    with pytest.raises(ImportError, match="pip install redis"):
        ours.CircuitRedisStorage("closed", object())


@over_seeds(3)
def test_hammered_by_threads_breakers_with_one_storage_end_in_its_state(seed):
    registry, storage = Registry(clock=ManualClock(100.0)), ours.CircuitMemoryStorage("closed")
    breakers = [ours.CircuitBreaker(fail_max=3, reset_timeout=0, success_threshold=2, state_storage=storage, registry=registry)
                for _ in range(3)]
    calls = [0] * 6

    def hammer(n):
        chance, breaker = random.Random(seed * 100 + n), breakers[n % 3]
        for _ in range(800):
            calls[n] += 1
            answer(breaker, *chance.choice([(int,), (fail,)]))
            if chance.random() > 0.98:
                chance.choice([breaker.open, breaker.half_open, breaker.close])()

    threads = [threading.Thread(target=hammer, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counts = [breaker.resilience.snapshot().counts for breaker in breakers]
    assert sum(calls) == sum(each[name] for each in counts for name in ("success", "failure", "short_circuited"))
    assert [storage.state] * 3 == [breaker.current_state for breaker in breakers]
    for breaker in breakers:
        assert [0] * 3 == [answer(breaker, int) for _ in range(3)]
    assert ["closed"] * 4 == [storage.state, *(breaker.current_state for breaker in breakers)]
