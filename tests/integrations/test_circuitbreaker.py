"""The stand-in and circuitbreaker live through the same histories, and end every step alike."""

import copy
import datetime
import inspect
import pickle
import random
import unittest.mock

import pytest

from resilience import CircuitOpenError, ConfigError
from resilience.integrations import circuitbreaker as ours

STEPS = 120

EXPECTED = {
    "none": None,
    "type": OSError,
    "several": (OSError, ZeroDivisionError),
    "function": lambda kind, error: issubclass(kind, OSError) and error.args != ("harmless",),
}


def drive(coroutine):
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it suspended")


def answer_of(error):
    if error is not None:
        raise error
    return "answer"


class Side:
    """A breaker of one of the libraries, with everything a history may do to it."""

    def __init__(self, library, settings, with_fallbacks, **more):
        self.library = library
        fallbacks = {"plain": self._instead, "coroutine": self._instead_async, "generator": self._items_instead,
                     "async_generator": self._async_items_instead}
        self.fallback = fallbacks[with_fallbacks] if with_fallbacks else None
        breaker = self.breaker = library.CircuitBreaker(**settings, fallback_function=self.fallback, **more)
        self.functions = {"plain": breaker(self._plain), "coroutine": breaker(self._coroutine),
                          "generator": breaker(self._items), "async_generator": breaker(self._async_items)}

    @staticmethod
    def _plain(error):
        return answer_of(error)

    @staticmethod
    async def _coroutine(error):
        return answer_of(error)

    @staticmethod
    def _items(error):
        yield 1
        yield answer_of(error)

    @staticmethod
    async def _async_items(error):
        yield 1
        yield answer_of(error)

    @staticmethod
    def _instead(error):
        if isinstance(error, ZeroDivisionError):
            raise LookupError("the fallback failed")
        return "instead"

    @staticmethod
    async def _instead_async(error):
        return Side._instead(error)

    @staticmethod
    def _items_instead(error):
        yield Side._instead(error)

    @staticmethod
    async def _async_items_instead(error):
        yield Side._instead(error)

    def call(self, how, error):
        result = self.functions[how](error)
        if how == "coroutine":
            return drive(result)
        if how == "generator":
            return list(result)
        if how == "async_generator":
            return drive(self._all(result))
        return result

    @staticmethod
    async def _all(items):
        return [item async for item in items]

    def block(self, how, error):
        if self.breaker.opened:
            return None  # a deliberate difference
        with self.breaker:
            return answer_of(error)

    def direct(self, how, error):
        if self.breaker.opened:
            return None  # a deliberate difference
        if how == "plain":
            return self.breaker.call(self._plain, error)
        if how == "coroutine":
            return drive(self.breaker.call_async(self._coroutine, error))
        if how == "generator":
            return list(self.breaker.call_generator(self._items, error))
        return drive(self._all(self.breaker.call_async_generator(self._async_items, error)))

    def reset(self, how, error):
        self.breaker.reset()

    def does(self, what, *args):
        """What it answers, or raises."""
        try:
            return getattr(self, what)(*args)
        except self.library.CircuitBreakerError:
            return "CircuitBreakerError"
        except Exception as error:
            return repr(error)

    def looks(self):
        """What can be seen of it."""
        breaker = self.breaker
        return (breaker.state, breaker.closed, breaker.opened, breaker.failure_count, repr(breaker.last_failure),
                breaker.name, str(breaker), breaker.open_remaining)


@pytest.mark.parametrize("expected", EXPECTED)
@pytest.mark.parametrize("how", [None, "plain", "coroutine", "generator", "async_generator"])
@pytest.mark.parametrize("seed", range(4))
def test_every_step_of_a_random_history_ends_as_with_circuitbreaker(seed, how, expected, their_circuitbreaker, clock,
                                                                    registry):
    chance = random.Random(f"{seed} {how} {expected}")
    settings = {"failure_threshold": chance.randint(1, 3), "recovery_timeout": chance.choice([1, 5, 10.5]),
                "expected_exception": EXPECTED[expected], "name": "history"}
    theirs = Side(their_circuitbreaker, settings, how)
    mine = Side(ours, settings, how, registry=registry)
    states, answers = set(), set()
    for step in range(STEPS):
        clock.advance(chance.choice([0, 0, 0, 0.25, 1, 3, 5]))
        assert (step, *theirs.looks()) == (step, *mine.looks())
        states.add(mine.breaker.state)
        what = chance.choices(["call", "block", "direct", "reset"], [80, 10, 10, 4])[0]
        which = how or chance.choice(list(mine.functions))
        error = chance.choice([None, OSError("down"), OSError("down"), OSError("down"), ZeroDivisionError("never"),
                               OSError("harmless"), KeyError("no such sku")])
        wanted = theirs.does(what, which, error)
        assert (step, what, which, error, wanted) == (step, what, which, error, mine.does(what, which, error))
        assert (step, what, error, *theirs.looks()) == (step, what, error, *mine.looks())
        answers.add(str(wanted))
    assert states == {"closed", "open", "half_open"}
    assert ("CircuitBreakerError" in answers) == (how is None)
    if how is not None:
        assert answers & {"instead", "['instead']"}


def test_the_names_and_signatures_are_circuitbreakers(their_circuitbreaker):
    for name in ours.__all__:
        assert hasattr(their_circuitbreaker, name), name
    for kind in ("CircuitBreaker", "CircuitBreakerMonitor"):
        for name in vars(getattr(their_circuitbreaker, kind)):
            if not name.startswith("_") and name != "circuit_breakers":
                assert hasattr(getattr(ours, kind), name), name
    for theirs, mine in ((their_circuitbreaker.circuit, ours.circuit),
                         (their_circuitbreaker.CircuitBreaker, ours.CircuitBreaker)):
        defaults = [{name: each.default for name, each in inspect.signature(function).parameters.items()
                     if name not in ("cls", "registry")} for function in (theirs, mine)]
        assert defaults[0] == defaults[1]


def test_a_subclass_sets_the_defaults_as_with_circuitbreaker(their_circuitbreaker, registry):
    for library, more in ((their_circuitbreaker, {}), (ours, {"registry": registry})):

        class Mine(library.CircuitBreaker):
            FAILURE_THRESHOLD = 2
            RECOVERY_TIMEOUT = 60

            def EXPECTED_EXCEPTION(kind, error):
                return kind is OSError

            def FALLBACK_FUNCTION(self, error):
                return self.name, "instead"

        function = Mine(**more)(Side._plain)
        results = []
        for error in (OSError(1), KeyError(2), OSError(3), OSError(4), None):
            try:
                results.append(function(error))
            except Exception as raised:
                results.append(repr(raised))
        assert ["OSError(1)", "KeyError(2)", "OSError(3)", "OSError(4)", ("Side._plain", "instead")] == results


def test_bare_and_with_arguments_and_with_a_class_of_ones_own(their_circuitbreaker):
    for library in (their_circuitbreaker, ours):

        class Mine(library.CircuitBreaker):
            FAILURE_THRESHOLD = 1

        @library.circuit
        def bare():
            return 1

        @library.circuit(name="named", cls=Mine)
        def named():
            raise OSError

        assert 1 == bare()
        for error in (OSError, library.CircuitBreakerError):
            with pytest.raises(error):
                named()
        qualname = bare.__qualname__
        assert qualname == library.CircuitBreakerMonitor.get(qualname).name
        assert ["named"] == [each.name for each in library.CircuitBreakerMonitor.get_open()]
        assert library.CircuitBreakerMonitor.get(qualname) in list(library.CircuitBreakerMonitor.get_closed())
        assert library.CircuitBreakerMonitor.get("named") in list(library.CircuitBreakerMonitor.get_circuits())
        assert library.CircuitBreakerMonitor.all_closed() is False
        library.CircuitBreakerMonitor.get("named").reset()
        assert library.CircuitBreakerMonitor.all_closed() is True
        assert library.CircuitBreakerMonitor.get("nobody") is None
    key = f"{bare.__module__}.{bare.__qualname__}"
    assert key == ours.CircuitBreakerMonitor.get(qualname).resilience.key


def test_a_method_is_bound_and_each_flavour_still_is_what_it_was(registry):
    breaker = ours.CircuitBreaker(registry=registry)

    class Client:
        @breaker
        async def fetch(self, sku):
            return self, sku

        @breaker
        async def stream(self):
            yield self

        @breaker
        def items(self):
            yield self

    client = Client()
    assert (client, "apple") == drive(client.fetch("apple"))
    assert [client] == list(client.items())
    assert inspect.iscoroutinefunction(client.fetch)
    assert inspect.isasyncgenfunction(client.stream)
    assert inspect.isgeneratorfunction(client.items)
    assert "Client.fetch" in breaker.name
    assert ["Client.fetch"] == [key.rpartition(".<locals>.")[2] for key in (each.key for each in registry)]


def test_what_cannot_say_what_a_failure_is_raises_as_with_circuitbreaker(their_circuitbreaker, registry):
    for wrong in ("OSError", 5, int, BaseException):
        with pytest.raises(ValueError, match="expected_exception"):
            their_circuitbreaker.CircuitBreaker(expected_exception=wrong)
        with pytest.raises(ValueError, match="expected_exception"):
            ours.CircuitBreaker(expected_exception=wrong, registry=registry)
    with pytest.raises(TypeError, match="decorates callables"):
        ours.CircuitBreaker(registry=registry)(5)


@pytest.mark.parametrize(("wrong", "option"), [
    ({"failure_threshold": 0}, "consecutive"), ({"recovery_timeout": -1}, "open_for"), ({"registry": 5}, "registry")])
def test_a_setting_out_of_range_is_refused_by_name(wrong, option, registry):
    with pytest.raises(ConfigError) as refused:
        ours.CircuitBreaker(**{"registry": registry, **wrong})
    assert option == refused.value.option


def test_calls_refusals_and_fallbacks_are_seen_in_the_commands_snapshot(registry, clock):
    breaker = ours.CircuitBreaker(failure_threshold=2, name="billing", fallback_function=Side._instead,
                                  registry=registry)
    function = breaker(Side._plain)
    for error in (None, OSError(), OSError(), None, None):
        try:
            function(error)
        except OSError:
            pass
    try:
        function(ZeroDivisionError())
    except LookupError as error:
        assert "the fallback failed" == str(error)
    snapshot = registry["billing"].snapshot()
    assert {"success": 1, "failure": 2, "short_circuited": 3, "fallback_success": 2, "fallback_failure": 1} == \
        {name: snapshot.counts[name]
         for name in ("success", "failure", "short_circuited", "fallback_success", "fallback_failure")}
    assert ("open", "circuitbreaker") == (snapshot.state, snapshot.group)


def test_a_refusal_says_when_to_come_back_and_is_one_of_ours_and_pickles(registry, clock):
    breaker = ours.CircuitBreaker(failure_threshold=1, recovery_timeout=30, name="billing", registry=registry)
    with pytest.raises(OSError, match="down"):
        breaker.call(Side._plain, OSError("down"))
    clock.advance(9.5)
    with pytest.raises(ours.CircuitBreakerError) as refused:
        breaker.call(Side._plain, None)
    error = pickle.loads(pickle.dumps(refused.value))
    assert isinstance(error, CircuitOpenError)
    assert ("billing", 20.5, 21) == (error.key, error.retry_after, breaker.open_remaining)
    assert ("1 call failed", "down") == (error.why, error.last_failure.message)
    assert ours.CircuitBreakerError is type(error)
    for text in (str(error), str(copy.copy(error))):
        assert text.startswith('Circuit "billing" OPEN until 20')
        assert text.endswith(" (1 failures, 21 sec remaining) (last_failure: OSError('down'))")


@pytest.fixture
def stopped(monkeypatch, their_circuitbreaker):
    """The wall clock of both libraries stands still."""

    class Noon(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime(2030, 1, 1, 12, tzinfo=tz)

    for library in (their_circuitbreaker, ours):
        monkeypatch.setattr(library, "datetime", Noon)


@pytest.mark.usefixtures("stopped")
def test_a_refusal_tells_what_circuitbreakers_tells_whenever_it_is_read(their_circuitbreaker, registry, clock):
    texts = []
    for library, more in ((their_circuitbreaker, {}), (ours, {"registry": registry})):
        breaker = library.CircuitBreaker(failure_threshold=2, recovery_timeout=30, name="billing", **more)
        said = [str(library.CircuitBreakerError(breaker)), str(library.CircuitBreakerError(breaker, "more"))]
        function = breaker(Side._plain)
        for _ in range(2):
            with pytest.raises(OSError, match="down"):
                function(OSError("down"))
        with pytest.raises(library.CircuitBreakerError) as refused:
            function(None)
        assert refused.value._circuit_breaker is breaker
        said += [str(refused.value), repr(breaker.open_until)]
        clock.advance(9.5)
        said.append(str(refused.value))
        breaker.reset()
        said.append(str(refused.value))
        clock.advance(40.5)
        said += [str(refused.value), str(breaker.open_remaining)]
        texts.append(said)
    assert texts[0] == texts[1]
    assert ('Circuit "billing" OPEN until 2030-01-01 12:00:30+00:00 (2 failures, 30 sec remaining) '
            "(last_failure: OSError('down'))") == texts[1][2]


def test_a_test_may_raise_a_refusal_of_no_breaker(registry):
    breaker = unittest.mock.Mock(open_remaining=5, failure_count=1, last_failure=None, open_until="noon")
    breaker.name = "mocked"
    error = ours.CircuitBreakerError(breaker)
    assert 'Circuit "mocked" OPEN until noon (1 failures, 5 sec remaining) (last_failure: None)' == str(error)
    assert isinstance(pickle.loads(pickle.dumps(error)), ours.CircuitBreakerError)
    assert error.retry_after is None


def test_a_monitor_that_was_emptied_or_given_another_mapping_works_on(their_circuitbreaker, registry, monkeypatch):
    for library, more in ((their_circuitbreaker, {}), (ours, {"registry": registry})):
        monitor = library.CircuitBreakerMonitor
        before = library.CircuitBreaker(name="before", **more)(Side._plain)
        monkeypatch.setattr(monitor, "circuit_breakers", {})
        assert (True, [], [], None) == (monitor.all_closed(), [*monitor.get_circuits()], [*monitor.get_open()],
                                        monitor.get("before"))
        kept = library.CircuitBreaker(name="kept", failure_threshold=1, **more)
        with pytest.raises(OSError, match="down"):
            kept(Side._plain)(OSError("down"))
        other = library.CircuitBreaker(name="other", **more)
        monitor.register(other)
        assert {"kept": kept, "other": other} == monitor.circuit_breakers
        assert (False, [kept], [other], kept) == (monitor.all_closed(), [*monitor.get_open()], [*monitor.get_closed()],
                                                  monitor.get("kept"))
        assert [kept, other] == [*monitor.get_circuits()]
        monitor.circuit_breakers.clear()
        assert monitor.all_closed()
        assert "answer" == before(None)


def test_mistaken_exceptions_are_refused_in_circuitbreakers_words(their_circuitbreaker, registry):
    for wrong in ("OSError", b"OSError", 5, int, [int]):
        if wrong != [int]:  # circuitbreaker fails at the first failure
            with pytest.raises(ValueError, match="expected_exception") as theirs:
                their_circuitbreaker.CircuitBreaker(expected_exception=wrong)
        with pytest.raises(ValueError, match="expected_exception") as mine:
            ours.CircuitBreaker(expected_exception=wrong, registry=registry)
        said = str(theirs.value).partition(".")[0]
        assert said == str(mine.value)[:len(said)]
    for nothing in ((), [], ""):
        for library, more in ((their_circuitbreaker, {}), (ours, {"registry": registry})):
            assert library.CircuitBreaker(expected_exception=nothing, **more).is_failure(OSError, None)


def test_the_public_functions_of_circuitbreaker_are_there(their_circuitbreaker):
    for library in (their_circuitbreaker, ours):
        for says in (library.in_exception_list(OSError, KeyError), library.build_failure_predicate([OSError, KeyError])):
            assert [True, True, False] == [says(kind, None) for kind in (ConnectionError, KeyError, ValueError)]
        assert library.build_failure_predicate(EXPECTED["function"]) is EXPECTED["function"]
    public = {name for name, value in vars(their_circuitbreaker).items()
              if getattr(value, "__module__", None) == "circuitbreaker" or name.startswith("STATE_")}
    assert public <= set(dir(ours))
    for name in ("CircuitBreaker", "CircuitBreakerMonitor"):
        assert {each for each in vars(getattr(their_circuitbreaker, name)) if each[0] != "_"} <= set(dir(getattr(ours, name)))


def test_a_circuit_forced_open_is_open_for_as_long_as_it_is(registry, clock):
    breaker = ours.CircuitBreaker(recovery_timeout=5, registry=registry)
    breaker.resilience.force_open()
    clock.advance(7)
    assert (True, False) == (breaker.opened, breaker.closed)
    with pytest.raises(ours.CircuitBreakerError, match=r"OPEN until .* \(0 failures, -2 sec remaining\)"):
        breaker.call(int)


async def test_a_subclass_or_a_test_whose_own_opened_says_so_has_calls_refused_and_nothing_counted(their_circuitbreaker, registry):
    for library, more in ((their_circuitbreaker, {}), (ours, {"registry": registry})):

        class Switched(library.CircuitBreaker):
            off = False

            @property
            def opened(self):
                return self.off or super().opened

        breaker, silent = (Switched(fallback_function=each, name="switched", **more) for each in (Side._instead, None))
        function, other = breaker(Side._plain), silent(Side._coroutine)
        assert ("answer", "answer") == (function(None), await other(None))
        Switched.off = True
        assert "instead" == function(None)
        with pytest.raises(library.CircuitBreakerError):
            await other(None)
        Switched.off = False
        assert ("answer", "answer") == (function(None), await other(None))
        assert breaker.closed
    assert 0 == breaker.resilience.snapshot().counts["short_circuited"]
    assert ["switched", "switched-2"] == sorted(command.key for command in registry)
