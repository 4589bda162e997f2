"""A policy of a user's own: in pipelines, stacks and command, in every flavour, in files, statistics and streams."""

import asyncio
import json
import threading

import attrs
import prometheus_client
import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    ConfigError,
    Fallback,
    Outcome,
    Pipeline,
    RateLimit,
    Registry,
    RejectedError,
    Retry,
    bulkhead,
    circuit_breaker,
    command,
    configure,
    custom_policy,
    explain,
    policy,
)
from resilience.events import CallRejected
from resilience.metrics.prometheus import Collector
from resilience.metrics.stream import Encoder
from resilience.policies import order
from resilience.testing import ManualClock, assert_counts

FLAVOURS = ["def", "thread", "async def", "generator", "async generator"]


class CapReached(RejectedError):
    reason = "the cap is reached"


class Spending:
    """The machine: so many units in all; a failed call gives back what it took."""

    def __init__(self, cap, key):
        self.cap, self.key, self.spent, self.heard, self.lock = cap, key, 0, [], threading.Lock()

    def acquire(self, now, call):
        units = call.argument(self.cap.argument, 1)
        with self.lock:
            if self.spent + units > self.cap.units:
                raise CapReached(self.key)
            self.spent += units
        return units

    def settle(self, permit, outcome, started, now):
        self.heard.append(Outcome(outcome).name)
        if outcome != Outcome.SUCCESS:
            with self.lock:
                self.spent -= permit

    def configure(self, cap, now):
        self.cap = cap

    def gauges(self):
        return {"left": self.cap.units - self.spent}


@attrs.frozen
class SpendingCap:
    units: int = 10
    argument: str = "tokens"

    def machine(self, key, now):
        return Spending(self, key)


@pytest.fixture(autouse=True, scope="module")
def _known_here_only():
    custom_policy("spending", about="Caps what calls may spend.",
                  below={"rate_limit": "what it refuses spends nothing"})(SpendingCap)
    yield
    for name in ("spending", "clumsy", "toll"):
        order.discard(name)


def machine_of(fn):
    return fn.resilience._runtime.named("spending").machine


def guarded(flavour, *policies, clock=None, fails=lambda tokens: None, **options):
    """A function of this flavour under *policies*, and how to call it to its end."""
    registry = Registry(clock=clock or ManualClock())
    if flavour in ("def", "thread"):
        def work(tokens=1):
            return fails(tokens)
    elif flavour == "async def":
        async def work(tokens=1):
            return fails(tokens)
    elif flavour == "generator":
        def work(tokens=1):
            yield fails(tokens)
    else:
        async def work(tokens=1):
            yield fails(tokens)
    if flavour == "thread":
        options["isolation"] = "thread"
    wrapper = Pipeline(*policies, key="work", registry=registry, **options)(work)

    def call(*args, **kwargs):
        if flavour in ("def", "thread"):
            return wrapper(*args, **kwargs)
        if flavour == "generator":
            return list(wrapper(*args, **kwargs))

        async def main():
            if flavour == "async def":
                return await wrapper(*args, **kwargs)
            return [item async for item in wrapper(*args, **kwargs)]
        return asyncio.run(main())

    return wrapper, call


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_it_refuses_in_units_that_the_calls_argument_names(flavour):
    wrapper, call = guarded(flavour, SpendingCap(10))
    call(7)
    call(tokens=3)
    with pytest.raises(CapReached, match="work: the cap is reached"):
        call(1)

    assert_counts(wrapper, success=2, spending_rejected=1)
    assert ["SUCCESS", "SUCCESS"] == machine_of(wrapper).heard
    assert wrapper.resilience.snapshot().refused == wrapper.resilience.snapshot().errors == 1


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("around", [(), (CircuitBreaker(),), (Fallback(lambda tokens=1: "else"), Retry(attempts=2, base=0))],
                         ids=["alone", "breaker", "fallback and retry"])
def test_it_hears_of_every_call_exactly_once_however_it_ends(flavour, around):
    def fails(tokens):
        if tokens == 2:
            raise OSError
        return tokens

    if "generator" in flavour:
        around = tuple(each for each in around if not isinstance(each, Retry))
    wrapper, call = guarded(flavour, *around, SpendingCap(10), Bulkhead(2), fails=fails)
    for tokens in (1, 2, 1):
        try:
            call(tokens)
        except OSError:
            pass

    attempts = 2 if any(isinstance(each, Retry) for each in around) else 1
    assert ["SUCCESS", *["FAILURE"] * attempts, "SUCCESS"] == machine_of(wrapper).heard
    assert 2 == machine_of(wrapper).spent


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_bulkhead_below_that_refuses_gives_its_permit_back(flavour):
    wrapper, call = guarded(flavour, CircuitBreaker(), SpendingCap(10), Bulkhead(1))
    permit = wrapper.resilience._runtime.slots.acquire(0.0)
    for _ in range(3):
        with pytest.raises(RejectedError, match="bulkhead is full"):
            call(4)

    assert ["REJECTED"] * 3 == machine_of(wrapper).heard
    assert 0 == machine_of(wrapper).spent
    wrapper.resilience._runtime.slots.settle(permit, 0, 0.0, 0.0)
    call(4)


def test_a_refusal_of_its_own_is_no_news_to_the_breaker_and_gives_the_probe_back():
    clock = ManualClock()
    down = [True]

    def fails(tokens):
        if down:
            raise OSError

    wrapper, call = guarded("def", CircuitBreaker(min_calls=2, open_for=1.0), SpendingCap(10), clock=clock, fails=fails)
    for _ in range(2):
        with pytest.raises(OSError):
            call(1)
    down.clear()
    clock.advance(1.0)
    with pytest.raises(CapReached):
        call(11)
    assert "half_open" == wrapper.resilience.state
    call(1)
    assert "closed" == wrapper.resilience.state


def test_it_stands_in_a_stack_and_in_command_in_the_checked_order():
    registry = Registry()

    @circuit_breaker(registry=registry, key="stacked")
    @policy(SpendingCap(3))
    @bulkhead(2)
    def stacked(tokens): ...

    @command(registry=registry, timeout=None, policies=[SpendingCap(3)], rate_limit=RateLimit(100))
    def whole(tokens): ...

    @command(registry=registry, timeout=None, spending=SpendingCap(3), key="named")
    def named(tokens): ...

    for fn in (stacked, whole, named):
        with pytest.raises(CapReached):
            fn(4)
    assert "CircuitBreaker > RateLimit > SpendingCap > Bulkhead" in str(explain(whole))
    assert SpendingCap(3) == whole.resilience.settings.spending == dict(named.resilience.settings.more)["spending"]
    with pytest.raises(ConfigError, match="RateLimit must stand above SpendingCap: what it refuses spends nothing"):
        Pipeline(SpendingCap(1), RateLimit(1))
    with pytest.raises(ConfigError, match="SpendingCap must stand above Bulkhead"):
        Pipeline(Bulkhead(1), SpendingCap(1))
    with pytest.raises(ConfigError, match="CircuitBreaker must stand above SpendingCap"):
        Pipeline(SpendingCap(1), CircuitBreaker())
    with pytest.raises(ConfigError, match="stands twice"):
        Pipeline(SpendingCap(1), SpendingCap(2))


def test_it_is_in_snapshot_stream_prometheus_and_events():
    registry, told = Registry(clock=ManualClock()), []
    registry.subscribe(CallRejected, told.append)

    @command(registry=registry, key="work", timeout=None, policies=[SpendingCap(5)])
    def work(tokens): ...

    @command(registry=registry, key="other", timeout=None)
    def other(): ...

    work(2)
    with pytest.raises(CapReached):
        work(4)

    assert ["spending_rejected"] == [event.event for event in told]
    assert {"spending.left": 3} == work.resilience.snapshot().gauges
    messages = {message["key"]: message for message in map(json.loads, Encoder().messages(registry, 0))}
    assert 1 == messages["work"]["counts"]["spending_rejected"]
    assert {"spending.left": 3} == messages["work"]["gauges"]
    assert "spending_rejected" not in messages["other"]["counts"]
    assert "gauges" not in messages["other"]
    metrics = prometheus_client.CollectorRegistry()
    metrics.register(Collector(registry))
    labels = {"command": "work", "group": __name__}
    assert 1.0 == metrics.get_sample_value(
        "resilience_command_events_total", {**labels, "event": "spending_rejected"})
    assert 3.0 == metrics.get_sample_value("resilience_policy_value", {**labels, "policy": "spending", "gauge": "left"})


def test_its_settings_are_in_the_file_and_change_live(tmp_path):
    registry = Registry(clock=ManualClock())

    @command(registry=registry, key="work", timeout=None, policies=[SpendingCap(5)])
    def work(tokens): ...

    file = tmp_path / "limits.toml"
    file.write_text('[commands.work]\nspending = { units = 1 }\n')
    configuration = configure(str(file), registry=registry)
    assert SpendingCap(1) == work.resilience.settings.spending
    with pytest.raises(CapReached):
        work(2)
    work.resilience.configure(spending=SpendingCap(3))
    work(2)
    assert "spending.units" in str(explain(work))
    file.write_text('[commands.work]\nspending = { unitz = 1 }\n')
    with pytest.raises(ConfigError, match="did you mean units"):
        configuration.reload()
    configuration.close()
    assert SpendingCap(3) == work.resilience.settings.spending or SpendingCap(5) == work.resilience.settings.spending


def test_shadow_mode_only_counts_what_it_would_refuse():
    wrapper, call = guarded("def", SpendingCap(1), shadow="spending")
    call(1)
    call(5)

    assert_counts(wrapper, success=2, shadow_rejected=1)
    assert ["SUCCESS"] == machine_of(wrapper).heard


def test_settle_that_raises_is_logged_once_and_harms_no_call(caplog):
    @custom_policy("clumsy", about="Raises.")
    @attrs.frozen
    class Clumsy:
        def machine(self, key, now):
            return self

        def acquire(self, now, call):
            return None

        def settle(self, permit, outcome, started, now):
            raise ValueError("oops")

    _, call = guarded("def", Clumsy(), Bulkhead(1))
    for _ in range(3):
        call(1)
    assert 1 == len(caplog.records)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: custom_policy("retry", about="")(SpendingCap), "there is a policy 'retry' already"),
    (lambda: custom_policy("no name", about=""), "must be an identifier"),
    (lambda: custom_policy("x", about="", below={"timeout": ""}), "there is no 'timeout' there"),
    (lambda: custom_policy("x", about="", below={"max_concurrent": "w"}, above={"throttle": "w"})(SpendingCap),
     "cannot stand below max_concurrent and above throttle"),
])
def test_a_policy_that_cannot_be_says_why(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_class_that_is_no_value_is_refused():
    class Plain:
        def machine(self, key, now): ...

    @attrs.frozen
    class Dull:
        x: int = 1

    with pytest.raises(TypeError, match=r"attrs\.frozen"):
        custom_policy("plain", about="")(Plain)
    with pytest.raises(TypeError, match="method machine"):
        custom_policy("dull", about="")(Dull)


def test_two_of_them_and_an_adaptive_limit():
    @custom_policy("toll", about="Takes a toll.", below=None)
    @attrs.frozen
    class Toll:
        def machine(self, key, now):
            return Spending(SpendingCap(2), key)

    wrapper, call = guarded("async def", SpendingCap(5), Toll(), AdaptiveLimit())
    call(1)
    call(1)
    with pytest.raises(CapReached):
        call(1)
    assert_counts(wrapper, success=2, toll_rejected=1)
    assert 2 == machine_of(wrapper).spent


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_mistake_in_acquire_is_an_error_of_its_own_and_no_refusal(flavour):
    wrapper, call = guarded(flavour, Fallback(lambda tokens=1: "else"), CircuitBreaker(min_calls=1), SpendingCap(10))
    for _ in range(3):
        with pytest.raises(TypeError):
            call("many")

    assert_counts(wrapper, bad_request=3)
    assert "closed" == wrapper.resilience.state
