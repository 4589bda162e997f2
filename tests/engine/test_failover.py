"""Failover: a call goes to the first target that can answer, in every flavour of function."""


import pytest

from resilience import (
    BadRequestError,
    Cache,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    FailedResultError,
    Failover,
    FailureRules,
    NoTimeLeftError,
    Registry,
    Retry,
    RetryBudget,
    State,
    configure,
    deadline,
    explain,
    http_status,
)
from resilience.events import CallFailedOver, CommandRemoved
from resilience.testing import ManualClock
from tests.engine.failover_rig import FLAVOURS, Rig

pytestmark = pytest.mark.parametrize("flavour", FLAVOURS)


class Answer:
    def __init__(self, status_code, **headers):
        self.status_code, self.headers = status_code, {name.replace("_", "-"): value for name, value in headers.items()}


def open_circuit(rig, target="eu"):
    rig.answers[target] = ConnectionError(target)
    rig.call()
    rig.call()
    assert rig.fn.resilience[target].state is State.OPEN
    rig.took()


def test_calls_go_to_the_first_target_while_it_answers_and_count_there(flavour):
    rig = Rig(flavour)
    assert [rig.call("/a"), rig.call(path="/b")] == ["good", "good"]

    assert rig.took() == ["eu", "eu"]
    assert rig.counts("eu").items() >= {"success": 2}.items()
    assert rig.counts("us") == {}
    assert "failover" not in rig.counts("eu")


def test_what_fails_goes_on_to_the_next_target_at_once(flavour):
    rig = Rig(flavour)
    events = []
    rig.registry.subscribe(CallFailedOver, events.append)
    error = rig.answers["eu"] = ConnectionError("eu")

    assert rig.call() == "good"
    assert rig.took() == ["eu", "us"]
    assert rig.counts("eu") == {"failure": 1, "failover": 1}
    [event] = events
    assert (event.key, event.event, event.error, event.next_key) == ("fetch[eu]", "failure", error, "fetch[us]")
    rig.assert_idle()


def test_a_target_whose_circuit_is_open_is_passed_over_without_being_asked_again(flavour):
    rig = Rig(flavour)
    open_circuit(rig)
    for _ in range(3):
        assert rig.call() == "good"

    assert rig.took() == ["us"] * 3
    assert "short_circuited" not in rig.counts("eu"), "a resting target is not even asked"


def test_the_calls_return_after_the_grace_time_when_one_of_them_has_succeeded_there(flavour):
    rig = Rig(flavour, say={"grace": 30.0})
    open_circuit(rig)
    rig.answers["eu"] = "good"
    rig.clock.advance(29.0)
    rig.call()
    assert rig.took() == ["us"], "the circuit would let a probe pass for long"

    rig.clock.advance(1.0)
    rig.call()
    rig.call()
    assert rig.took() == ["eu", "eu"]
    assert rig.fn.resilience["eu"].state is State.CLOSED


def test_a_target_that_comes_and_goes_gets_one_call_in_each_grace_time(flavour):
    rig = Rig(flavour, say={"grace": 30.0})
    open_circuit(rig)
    for _ in range(3):
        rig.clock.advance(30.0)
        for _ in range(5):
            assert rig.call() == "good"
        assert rig.took() == ["eu", "us", "us", "us", "us", "us"]


def test_the_mistakes_of_the_caller_go_nowhere_else(flavour):
    rig = Rig(flavour, ignore=KeyError)
    for mistake in (BadRequestError("no"), KeyError("unknown")):
        rig.answers["eu"] = mistake
        assert rig.outcome() is mistake
        assert rig.took() == ["eu"]

    assert isinstance(rig.outcome(1, 2, 3), TypeError)
    assert rig.took() == []
    assert rig.counts("eu").keys() == {"bad_request", "exceptions_thrown"}


def test_the_name_of_the_target_is_not_for_callers_to_give(flavour):
    rig = Rig(flavour)
    with pytest.raises(TypeError, match="'region'"):
        rig.call(region="us")


def test_when_all_fail_the_caller_gets_the_last_exception_which_says_where_it_was_tried(flavour):
    rig = Rig(flavour)
    first = rig.answers["eu"] = ConnectionError("eu")
    last = rig.answers["us"] = OSError("us")

    assert rig.outcome() is last
    assert last.__notes__ == ["fetch: targets tried: eu (ConnectionError), us (OSError)"]
    assert last.__context__ is first
    assert rig.counts("us") == {"failure": 1, "fallback_missing": 1, "exceptions_thrown": 1}
    rig.outcome()
    assert len(last.__notes__) == 1


def test_an_exception_that_allows_no_notes_is_raised_as_it_is(flavour):
    class FrozenError(Exception):
        __slots__ = ()

        def __setattr__(self, name, value):
            raise AttributeError(name)

    rig = Rig(flavour)
    rig.answers["eu"] = rig.answers["us"] = frozen = FrozenError("no")

    assert rig.outcome() is frozen


def test_a_failure_tells_more_than_a_refusal(flavour):
    rig = Rig(flavour)
    failed = rig.answers["eu"] = ConnectionError("eu")
    rig.fn.resilience["us"].force_open()

    assert rig.outcome() is failed


def test_when_all_refuse_the_caller_gets_the_refusal_that_ends_soonest(flavour):
    rig = Rig(flavour)
    open_circuit(rig, "eu")
    rig.clock.advance(2.0)
    rig.answers["us"] = ConnectionError("us")
    for _ in range(2):
        rig.outcome()
    rig.took()

    refusal = rig.outcome()
    assert isinstance(refusal, CircuitOpenError)
    assert (refusal.key, refusal.retry_after) == ("fetch[eu]", 3.0)
    assert rig.took() == []


def test_when_all_refuse_a_call_with_a_deadline_waits_for_the_one_that_is_back_soonest(flavour):
    rig = Rig(flavour)
    open_circuit(rig, "eu")
    rig.answers["us"] = ConnectionError("us")
    for _ in range(2):
        rig.outcome()
    rig.took()
    rig.answers["eu"] = "good"

    with deadline(4.0, clock=rig.clock):
        assert isinstance(rig.outcome(), CircuitOpenError)
    assert rig.clock() == 0.0
    with deadline(6.0, clock=rig.clock):
        assert rig.call() == "good"
    assert rig.clock() == 5.0
    assert rig.took() == ["eu"]


def test_a_deadline_that_has_passed_ends_the_call(flavour):
    rig = Rig(flavour)

    def too_late():
        rig.clock.advance(2.0)
        return ConnectionError("too late")

    rig.answers["eu"] = too_late
    with deadline(1.0, clock=rig.clock):
        error = rig.outcome()
        assert isinstance(error, ConnectionError)
        assert "deadline" in error.__notes__[0]
        assert isinstance(rig.outcome(), NoTimeLeftError)
    assert rig.took() == ["eu"]


def test_a_result_that_is_judged_failed_goes_on_and_the_last_one_is_the_callers(flavour):
    rig = Rig(flavour, failures=FailureRules(status=http_status(), items=lambda item: item.status_code >= 500))
    bad, worse, good = Answer(503), Answer(500), Answer(200)
    rig.answers.update(eu=bad, us=good)
    assert rig.call() is good
    rig.answers["us"] = worse
    assert rig.call() is worse
    rig.assert_idle()


def test_a_failed_result_is_raised_if_the_rules_say_so(flavour):
    rig = Rig(flavour, failures=FailureRules(status=http_status(), raise_failures=True,
                                             items=lambda item: item.status_code >= 500))
    rig.answers.update(eu=Answer(503), us=Answer(503))

    error = rig.outcome()
    assert isinstance(error, FailedResultError)
    assert error.key == "fetch[us]"


def test_a_busy_target_is_left_alone_for_as_long_as_it_asks(flavour):
    class BusyError(Exception):
        retry_after = 7.0

    rig = Rig(flavour, failures=FailureRules(busy=BusyError))
    rig.answers["eu"] = BusyError()
    for _ in range(3):
        rig.call()
    assert rig.took() == ["eu", "us", "us", "us"]

    rig.clock.advance(7.0)
    rig.answers["eu"] = "good"
    rig.call()
    assert rig.took() == ["eu"]
    assert rig.fn.resilience["eu"].state is State.CLOSED


def test_without_a_circuit_one_failure_makes_a_target_rest(flavour):
    rig = Rig(flavour, breaker=None, say={"grace": 10.0})
    rig.answers["eu"] = ConnectionError("eu")
    rig.call()
    rig.call()
    assert rig.took() == ["eu", "us", "us"]
    assert rig.fn.resilience["eu"].snapshot().gauges["failover.resting"] == 1.0


def test_the_budget_bounds_what_goes_on_after_failures_but_not_what_is_passed_over(flavour):
    rig = Rig(flavour, say={"budget": RetryBudget(ratio=0.0, per_second=0.1)},
              breaker=CircuitBreaker(min_calls=2, window=100.0))
    rig.answers["eu"] = error = ConnectionError("eu")
    assert rig.call() == "good"
    assert rig.outcome() is error
    assert error.__notes__[0] == "fetch: its budget allows no other target"
    assert [rig.call() for _ in range(5)] == ["good"] * 5


def test_calls_are_shared_out_by_weight(flavour):
    numbers = iter([0.1, 0.7, 0.8, 0.3])
    rig = Rig(flavour, say={"weights": (3, 1)}, registry=Registry(clock=ManualClock(), random=lambda: next(numbers)))
    for _ in range(4):
        rig.call()

    assert rig.took() == ["eu", "eu", "us", "eu"]


def test_a_fallback_answers_when_no_target_does(flavour):
    async def answers_async(path="/", *, error):
        yield f"fallback for {error}"

    def generator(path="/", *, error):
        yield f"fallback for {error}"

    fallback = answers_async if flavour == "async generator" else generator if flavour == "generator" else \
        lambda path="/", *, error: f"fallback for {error}"
    rig = Rig(flavour, fallback=fallback)
    rig.answers.update(eu=ConnectionError("eu"), us=ConnectionError("us"))

    assert rig.call() == "fallback for us"
    counts = rig.registry["fetch"].snapshot().counts
    assert (counts["failure"], counts["fallback_success"]) == (1, 1)
    assert [handle.key for handle in rig.fn.resilience] == ["fetch", "fetch[eu]", "fetch[us]"]


def test_settings_change_live_for_all_targets_or_for_one(flavour):
    rig = Rig(flavour, say={"grace": 30.0})
    rig.fn.resilience.configure(failover=Failover(("eu", "us"), argument="region", grace=5.0), max_concurrent=3)
    rig.fn.resilience["us"].configure(max_concurrent=7)
    assert [handle.settings.max_concurrent for handle in rig.fn.resilience] == [3, 7]
    open_circuit(rig)
    rig.answers["eu"] = "good"
    rig.clock.advance(5.0)
    rig.call()
    assert rig.took() == ["eu"]

    with pytest.raises(ConfigError, match="targets"):
        rig.fn.resilience.configure(failover=Failover(("eu", "asia"), argument="region"))


def test_an_operator_sends_the_calls_elsewhere_and_back_at_once(flavour):
    rig = Rig(flavour)
    rig.fn.resilience["eu"].force_open()
    rig.call()
    rig.fn.resilience["eu"].release()
    rig.call()

    assert rig.took() == ["us", "eu"]


def test_reset_of_a_target_brings_the_calls_back_at_once(flavour):
    rig = Rig(flavour)
    open_circuit(rig)
    rig.answers["eu"] = "good"
    rig.fn.resilience["eu"].reset()
    rig.call()

    assert rig.took() == ["eu"]


def test_a_file_says_something_of_all_targets_and_of_one(flavour):
    rig = Rig(flavour, fallback=None)
    configuration = configure({"commands": {"fetch": {"failover": {"grace": 5.0}, "max_concurrent": 4},
                                            "fetch[us]": {"max_concurrent": 2}}}, registry=rig.registry, environ={})
    assert configuration.mistakes == ()
    assert [handle.settings.max_concurrent for handle in rig.fn.resilience] == [4, 2]
    assert rig.fn.resilience["eu"].settings.failover.grace == 5.0
    configuration.close()


def test_explain_shows_the_targets_and_the_worst_case_of_all_of_them(flavour):
    rig = Rig(flavour, say={"max_wait": 2.0}, **({} if "generator" in flavour else {"retry": Retry(attempts=2)}))
    chain = explain(rig.fn).chains[0]
    assert chain.worst_case.attempts == (2 if "generator" in flavour else 4)
    assert "Failover (eu, us)" in chain.policies


def test_a_refusal_by_a_full_bulkhead_goes_on_and_rests_nobody(flavour):
    rig = Rig(flavour, max_concurrent=1)
    outer, rig.answers["eu"] = [], lambda: outer.append(asked_within(rig)) or "good"

    def asked_within(rig):
        if rig.asked.count("eu") == 1 and flavour in ("sync", "thread", "generator"):
            return rig._call()
        return None

    rig.call()
    if outer != [None]:
        assert rig.took() == ["eu", "us"]
    assert rig.fn.resilience["eu"].snapshot().gauges["failover.resting"] == 0.0


def test_functions_of_one_key_share_the_commands_of_the_targets(flavour):
    rig = Rig(flavour)
    other = Rig(flavour, registry=rig.registry, clock=rig.clock)
    open_circuit(rig)
    assert other.call() == "good"

    assert other.took() == ["us"]
    assert len(list(rig.registry)) == 2


def test_removed_targets_leave_the_registry_and_calls_go_on(flavour):
    rig = Rig(flavour, **({} if "generator" in flavour else {"cache": Cache(ttl=1.0)}))
    gone = []
    rig.registry.subscribe(CommandRemoved, lambda event: gone.append(event.key))
    rig.fn.resilience.clear()

    assert sorted(gone) == sorted(["fetch[eu]", "fetch[us]", *([] if "generator" in flavour else ["fetch"])])
    assert list(rig.registry) == []
    assert rig.call() == "good"


def test_idle_targets_stay_in_the_registry(flavour):
    rig = Rig(flavour)
    rig.clock.advance(1e6)

    assert len(list(rig.registry)) == 2


def test_an_interrupt_at_a_target_goes_nowhere_else_and_gives_its_probe_back(flavour):
    rig = Rig(flavour, say={"grace": 5.0})
    open_circuit(rig)
    rig.clock.advance(5.0)
    rig.answers["eu"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        rig.call()
    assert rig.took() == ["eu"]
    rig.assert_idle()
    rig.answers["eu"] = "good"
    rig.call()
    assert rig.took() == ["eu"], "the next call may probe"
