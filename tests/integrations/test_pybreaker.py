"""The stand-in and pybreaker live through the same histories, and end every step alike."""

import copy
import inspect
import random

import pytest

from resilience import CircuitOpenError, ConfigError
from resilience.integrations import pybreaker as ours

STEPS = 200


class Told:
    """A listener of either library that keeps what it is told."""

    def __init__(self):
        self.heard = []

    def before_call(self, cb, func, *args, **kwargs):
        self.heard.append(("before_call", args, kwargs))

    def failure(self, cb, exc):
        self.heard.append(("failure", repr(exc), cb.fail_counter, cb.current_state))

    def success(self, cb):
        self.heard.append(("success", cb.fail_counter, cb.current_state))

    def state_change(self, cb, old_state, new_state):
        self.heard.append(("state_change", old_state.name, new_state.name))


def harmless(error):
    return error.args == ("harmless",)


class Side:
    """A breaker of one of the libraries, with everything a history may do to it."""

    def __init__(self, library, settings, **more):
        self.library, self.told = library, Told()
        self.breaker = library.CircuitBreaker(**settings, exclude=[KeyError, harmless], listeners=[self.told], **more)
        self.function, self.items = self.breaker(self._function), self.breaker(self._items)

    @staticmethod
    def _function(error, answer=1):
        if error is not None:
            raise error
        return answer

    @staticmethod
    def _items(error):
        got = yield 1
        yield got
        if error is not None:
            raise error
        return "end"

    def call(self, error):
        return self.breaker.call(self._function, error, answer=7)

    def decorated(self, error):
        return self.function(error)

    def block(self, error):
        with self.breaker.calling():
            return self._function(error)

    def generator(self, error):
        items = self.items(error)
        seen = [next(items), items.send("sent")]
        return [*seen, *items]

    def exclude(self, error):
        self.breaker.add_excluded_exception(OSError)

    def include(self, error):
        while OSError in self.breaker.excluded_exceptions:
            self.breaker.remove_excluded_exception(OSError)

    def does(self, what, *args):
        """What it answers, or raises."""
        try:
            return getattr(self, what)(*args)
        except self.library.CircuitBreakerError as error:
            assert not isinstance(error, OSError)
            return "CircuitBreakerError"
        except Exception as error:
            return repr(error)

    def looks(self):
        """What can be seen of it."""
        breaker = self.breaker
        return (breaker.current_state, breaker.state.name, breaker.fail_counter, breaker.success_counter,
                breaker.fail_max, breaker.reset_timeout, breaker.success_threshold, self.told.heard)

    def steer(self, what):
        getattr(self.breaker, what)()

    def change(self, name, value):
        if name == "success_threshold" and self.breaker.current_state == self.library.STATE_HALF_OPEN:
            return  # a deliberate difference
        setattr(self.breaker, name, value)


def a_step(chance):
    """What to do next: a method of Side, and its arguments."""
    error = chance.choice([None, OSError("down"), OSError("down"), OSError("down"), KeyError("no such sku"),
                           ValueError("harmless"), ValueError("harmful")])
    kind = chance.random()
    if kind < 0.8:
        return chance.choice(["call", "decorated", "block", "generator"]), error
    if kind < 0.88:
        return "steer", chance.choice(["open", "half_open", "close"])
    if kind < 0.94:
        return "change", *chance.choice([("fail_max", chance.randint(1, 4)), ("reset_timeout", chance.choice([1, 3, 6, 9])),
                                         ("success_threshold", chance.randint(1, 3))])
    return chance.choice(["exclude", "include", "include"]), None


@pytest.mark.parametrize("seed", range(60))
def test_every_step_of_a_random_history_ends_as_with_pybreaker(seed, their_pybreaker, clock, registry):
    chance = random.Random(seed)
    settings = {"fail_max": chance.randint(1, 4), "reset_timeout": chance.choice([1, 5, 10]),
                "success_threshold": chance.randint(1, 3), "throw_new_error_on_trip": chance.random() < 0.5}
    theirs = Side(their_pybreaker, settings)
    mine = Side(ours, settings, registry=registry)
    states, answers = set(), set()
    for step in range(STEPS):
        clock.advance(chance.choice([0, 0, 0, 0.25, 1, 3, 5]))
        what, *args = a_step(chance)
        expected = theirs.does(what, *copy.copy(args))
        assert (step, what, args, expected) == (step, what, args, mine.does(what, *args))
        assert (step, what, args, *theirs.looks()) == (step, what, args, *mine.looks())
        states.add(mine.breaker.current_state)
        answers.add(str(expected))
    assert states == {"closed", "open", "half-open"}
    assert "CircuitBreakerError" in answers


@pytest.mark.parametrize("state", ["closed", "open", "half-open"])
def test_a_breaker_begins_in_the_state_of_its_storage(state, their_pybreaker, registry, clock):
    for library, more in ((their_pybreaker, {}), (ours, {"registry": registry})):
        told = Told()
        breaker = library.CircuitBreaker(
            state_storage=library.CircuitMemoryStorage(state), listeners=[told], fail_max=3, **more)
        clock.advance(1)
        assert (state, []) == (breaker.current_state, told.heard)
        assert breaker.call(int) == 0
        assert breaker.current_state == "closed"


def test_the_names_and_signatures_are_pybreakers(their_pybreaker):
    assert set(their_pybreaker.__all__) <= set(ours.__all__)
    for name, value in vars(their_pybreaker.CircuitBreaker).items():
        if not name.startswith("_"):
            assert hasattr(ours.CircuitBreaker, name), name
            if inspect.isfunction(value):
                theirs, mine = (list(inspect.signature(getattr(each.CircuitBreaker, name)).parameters)
                                for each in (their_pybreaker, ours))
                assert len(theirs) == len(mine), name
    theirs = inspect.signature(their_pybreaker.CircuitBreaker).parameters
    mine = inspect.signature(ours.CircuitBreaker).parameters
    assert {**{name: each.default for name, each in theirs.items()}, "registry": None} == \
        {name: each.default for name, each in mine.items()}
    assert {name for name in vars(their_pybreaker.CircuitBreakerListener) if name[0] != "_"} == \
        {name for name in vars(ours.CircuitBreakerListener) if name[0] != "_"}


def test_a_state_is_of_the_class_of_its_name_for_listeners_too_and_stays_one_object(their_pybreaker, registry):
    for library, more in ((their_pybreaker, {}), (ours, {"registry": registry})):
        told, listener = [], library.CircuitBreakerListener()
        listener.state_change = lambda cb, old, new, told=told: told.append((type(old), type(new)))
        breaker = library.CircuitBreaker(listeners=[listener], **more)
        closed, opened, half_open = library.CircuitClosedState, library.CircuitOpenState, library.CircuitHalfOpenState
        for change, kind in ((breaker.open, opened), (breaker.half_open, half_open), (breaker.close, closed)):
            change()
            assert type(breaker.state) is kind
            assert breaker.state is breaker.state
            assert isinstance(breaker.state, library.CircuitBreakerState)
        assert [(closed, opened), (opened, half_open), (half_open, closed)] == told
        assert ("open", "half-open") == (opened(breaker).name, half_open(breaker, None).name)
        opened(breaker, breaker.state, notify=True)
        assert (closed, opened) == told[-1]
        assert "closed" == breaker.current_state


async def test_a_state_calls_through_its_breaker_as_long_as_there_is_one(registry):
    breaker = ours.CircuitBreaker(registry=registry)

    async def fetch():
        return 5

    state = breaker.state
    assert (0, 5) == (state.call(int), await state.call_async(fetch))
    assert "<state 'closed'>" == repr(state)
    breaker.open()
    with pytest.raises(ours.CircuitBreakerError):
        state.call(int)
    del breaker
    with pytest.raises(ReferenceError, match="keep the breaker"):
        state.call(int)


def test_errors_begin_with_pybreakers_words(their_pybreaker, registry, clock):
    texts = []
    for library, more in ((their_pybreaker, {}), (ours, {"registry": registry})):
        breaker, said = library.CircuitBreaker(fail_max=1, reset_timeout=5, **more), []
        for wait in (0, 0, 5):
            clock.advance(wait)
            with pytest.raises(library.CircuitBreakerError) as raised:
                breaker.call(Side._function, OSError("down"))
            said.append(str(raised.value))
        texts.append(said)
    (threshold, elapsed, trial), mine = texts
    assert [threshold, trial] == [mine[0], mine[2]]
    assert f"{elapsed} (pybreaker: the circuit is open, opened 0 s ago: 1 call failed, last OSError('down') 0 s ago; retry in 5 s)" \
        == mine[1]


def test_a_decorated_function_looks_like_itself_and_binds_to_its_instance(registry):
    breaker = ours.CircuitBreaker(registry=registry)

    class Client:
        """Has a method."""

        @breaker
        def fetch(self, sku):
            """Fetch."""
            return self, sku

    client = Client()
    assert client.fetch("apple") == (client, "apple")
    assert ("fetch", "Fetch.") == (Client.fetch.__name__, Client.fetch.__doc__)
    assert breaker()(lambda: 5)() == 5


def test_listeners_come_and_go(registry):
    breaker, first, second = ours.CircuitBreaker(registry=registry), Told(), ours.CircuitBreakerListener()
    breaker.add_listeners(first, second)
    assert (first, second) == breaker.listeners
    breaker.call(int)
    breaker.remove_listener(first)
    breaker.call(int)
    assert ["before_call", "success"] == [event[0] for event in first.heard]
    with pytest.raises(ValueError, match="not in"):
        breaker.remove_listener(first)


def test_calls_and_refusals_are_seen_in_the_commands_snapshot(registry, clock):
    breaker = ours.CircuitBreaker(fail_max=2, exclude=[KeyError], name="billing", registry=registry)
    function = breaker(Side._function)
    with breaker.calling():
        clock.advance(0.25)
    for error in (None, KeyError(), OSError(), OSError(), None, None):
        try:
            function(error)
        except (OSError, KeyError, ours.CircuitBreakerError):
            pass
    snapshot = registry["billing"].snapshot()
    assert (3, 2, 2) == tuple(snapshot.counts[name] for name in ("success", "failure", "short_circuited"))
    assert ("open", "pybreaker") == (snapshot.state, snapshot.group)
    assert breaker.resilience is registry["billing"]
    assert 0.25 == pytest.approx(snapshot.latency.p100, rel=0.1)


def test_a_refusal_says_when_to_come_back_and_is_one_of_ours(registry, clock):
    breaker = ours.CircuitBreaker(fail_max=1, reset_timeout=30, registry=registry)
    with pytest.raises(ours.CircuitBreakerError) as tripped:
        breaker.call(Side._function, OSError("down"))
    assert isinstance(tripped.value.__cause__, OSError)
    assert not isinstance(tripped.value, CircuitOpenError)
    clock.advance(10)
    with pytest.raises(CircuitOpenError) as refused:
        breaker.call(int)
    assert isinstance(refused.value, ours.CircuitBreakerError)
    assert ("pybreaker", 20.0) == (refused.value.key, refused.value.retry_after)


@pytest.mark.parametrize(("wrong", "option"), [
    ({"fail_max": 0}, "consecutive"), ({"reset_timeout": -1}, "open_for"), ({"success_threshold": 0}, "half_open_calls"),
    ({"state_storage": object()}, "state_storage"), ({"registry": 5}, "registry")])
def test_a_setting_out_of_range_is_refused_by_name_and_leaves_no_command(wrong, option, registry):
    with pytest.raises(ConfigError) as refused:
        ours.CircuitBreaker(**{"registry": registry, **wrong})
    assert option == refused.value.option
    assert len(registry) == 0


def test_what_is_neither_a_function_nor_an_exception_is_refused(registry):
    with pytest.raises(TypeError, match="exclude takes"):
        ours.CircuitBreaker(exclude=["KeyError"], registry=registry)
    breaker = ours.CircuitBreaker(registry=registry)
    with pytest.raises(TypeError, match="decorates callables"):
        breaker(5)
    with pytest.raises(TypeError, match="not cached"):
        breaker(int, cached=True)
    with pytest.raises(ValueError, match="'half-open', not 'ajar'"):
        breaker.state = "ajar"
