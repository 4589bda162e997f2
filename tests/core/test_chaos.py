"""Chaos: which calls are harmed by which random numbers, and how."""

import pytest

from resilience.core.chaos import Chaos, Harm, harm_of
from resilience.errors import ChaosError, ConfigError


async def later():
    """Nobody awaits it."""


def spoil(result):
    return None


ALL = Chaos(latency_rate=0.5, latency=2.0, error_rate=0.25, result_rate=0.75, result=spoil)


@pytest.mark.parametrize(("u", "v", "w", "harm"), [
    (0.5, 0.25, 0.75, None), (0.49, 0.25, 0.75, Harm(2.0, None, None)), (0.5, 0.24, 0.75, Harm(0.0, ChaosError, None)),
    (0.5, 0.25, 0.74, Harm(0.0, None, spoil)), (0.49, 0.24, 0.74, Harm(2.0, ChaosError, None)),
    (0.49, 0.25, 0.74, Harm(2.0, None, spoil))])
def test_a_call_is_harmed_if_its_number_is_below_the_rate_and_one_that_fails_has_no_result_to_spoil(u, v, w, harm):
    assert harm == harm_of(ALL, u, v, w)


@pytest.mark.parametrize(("harm", "faults"), [
    (Harm(2.0, None, None), ("latency",)), (Harm(0.5, None, None), ("latency",)), (Harm(0.0, ChaosError, None), ("error",)),
    (Harm(0.0, None, spoil), ("result",)), (Harm(2.0, None, spoil), ("latency", "result"))])
def test_what_is_done_is_named(harm, faults):
    assert faults == harm.faults()


class Falsy:
    """Says of itself that it is false, and does harm all the same."""

    def __call__(self, *_):
        return OSError("down")

    def __bool__(self):
        return False


def test_a_callable_that_calls_itself_false_does_harm():
    error, wrong = Falsy(), Falsy()

    assert Harm(0.0, error, None) == harm_of(Chaos(error_rate=1.0, error=error), 0.0, 0.0, 0.0)
    assert Harm(0.0, None, wrong) == harm_of(Chaos(result_rate=1.0, result=wrong), 0.0, 0.0, 0.0)
    assert ("error",) == Harm(0.0, error, None).faults()


@pytest.mark.parametrize(("settings", "option", "words"), [
    ({"latency_rate": 0.1}, "latency_rate", "latency_rate means nothing without latency"),
    ({"result_rate": 0.1}, "result_rate", "result_rate means nothing without result"),
    ({"error": 3}, "error", "error must be an Exception class, or a function that returns an exception, not 3"),
    ({"error": 3}, "error", "not 3$"), ({"error": later}, "error", "an exception, not <function later at .*>; give a plain function"),
    ({"error": KeyboardInterrupt}, "error", "error must be an Exception class.*>$"), ({"result": 3}, "result", "result must be callable")])
def test_what_makes_no_sense_is_refused_by_name(settings, option, words):
    with pytest.raises(ConfigError, match=words) as caught:
        Chaos(**settings)

    assert option == caught.value.option


@pytest.mark.parametrize("settings", [
    {"latency": 1.0}, {"result": spoil}, {"result_rate": 0.1, "result": Falsy()}, {"error": OSError},
    {"error": lambda: OSError("down")}])
def test_what_makes_sense_is_accepted(settings):
    Chaos(**settings)


@pytest.mark.parametrize("fault", [OSError, OSError("down")])
def test_a_call_that_is_to_fail_raises_what_the_function_returns(fault):
    assert fault is Harm(0.0, lambda: fault, None).fault()


@pytest.mark.parametrize("fault", ["down", None, KeyboardInterrupt, KeyboardInterrupt(), int])
def test_what_is_no_exception_is_a_mistake_of_the_function(fault):
    with pytest.raises(TypeError, match="^error of a Chaos must return an exception, not "):
        Harm(0.0, lambda: fault, None).fault()


def test_nothing_is_raised_for_a_call_that_is_not_to_fail():
    with pytest.raises(TypeError, match="not None$"):
        Harm(1.0, None, None).fault()
