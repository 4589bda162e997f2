"""The blocks of docs/reference/contract.md, run verbatim and looked at: what they define does what the page says."""

import ast
import asyncio
import inspect
import pickle
import re
from pathlib import Path

import pytest

import resilience
from resilience import Registry, default_registry
from resilience.testing import ManualClock

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "contract.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def _clean_default_registry():
    for handle in list(default_registry):
        default_registry.remove(handle.key)
    yield
    for handle in list(default_registry):
        default_registry.remove(handle.key)


def block(mark, **names):
    """Run the one block that has *mark* in it; returns its namespace."""
    (text,) = [each for each in BLOCKS if mark in each]
    namespace = {"__name__": "shop", **names}
    code = compile(text, "contract.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, namespace)
    if inspect.iscoroutine(result):
        asyncio.run(result)
    return namespace


def test_every_block_is_run_by_a_test_here_or_named():
    marks = ["fallback=lambda sku: 0)\nasync", "inventory.stock", "@bulkhead(20)", "Pipeline(", "handle = stock.resilience",
             "unsubscribe", "ManualClock", "Gateway.from_file"]

    assert len(BLOCKS) == len(marks)
    for mark in marks:
        assert 1 == sum(mark in each for each in BLOCKS), mark


def test_command_in_one_decorator_with_hystrix_defaults():
    stock = block("fallback=lambda sku: 0)\nasync")["stock"]
    settings = stock.resilience.settings

    assert inspect.iscoroutinefunction(stock)
    assert asyncio.run(stock("a")) is None
    assert ("shop.stock", "inventory") == (stock.resilience.key, stock.resilience.group)
    assert (0.5, 20, "semaphore") == (settings.timeout, settings.max_concurrent, settings.isolation)
    breaker = settings.breaker
    assert (0.5, 20, 10.0, 10, 5.0, 1) == (breaker.failure_rate, breaker.min_calls, breaker.window, breaker.buckets,
                                           breaker.open_for, breaker.half_open_calls)


def test_the_full_form_of_command():
    stock = block("inventory.stock")["stock"]
    settings = stock.resilience.settings

    assert stock("a") is None
    assert ("inventory.stock", "inventory", "thread") == (stock.resilience.key, stock.resilience.group, settings.isolation)
    assert (0.3, 50, 30.0, 2.0, 0.2, 0.8, 3) == tuple(
        getattr(settings.breaker, name)
        for name in ("failure_rate", "min_calls", "window", "open_for", "slow_call", "slow_rate", "half_open_calls"))


def test_a_stack_is_one_wrapper():
    stock = block("@bulkhead(20)")["stock"]

    assert asyncio.run(stock("a")) is None
    assert not hasattr(stock.__wrapped__, "__wrapped__"), "the wrapper wraps the function itself"
    settings = stock.resilience.settings
    assert (0.3, 20, 0.5, True) == (settings.breaker.failure_rate, settings.max_concurrent, settings.timeout,
                                    settings.has_fallback)


def test_a_pipeline_decorates_and_calls():
    async def fetch_price(sku):
        return f"price of {sku}"

    names = block("Pipeline(", fetch_price=fetch_price)

    assert "price of sku-1" == names["value"]
    assert "price of x" == asyncio.run(names["price"]("x"))
    assert "inventory" == names["price"].resilience.key
    assert 2 == names["price"].resilience.snapshot().counts["success"]


def test_a_handle_looks_and_steers():
    stock = block("fallback=lambda sku: 0)\nasync")["stock"]
    states = []
    unsubscribe = default_registry.subscribe(resilience.StateChanged, lambda event: states.append(str(event.new)))
    handle = block("handle = stock.resilience", stock=stock)["handle"]
    unsubscribe()

    assert ["forced_open", "forced_closed", "closed", "closed"] == states
    assert "closed" == handle.state
    assert 0.3 == handle.settings.timeout


def test_a_snapshot_has_what_the_page_lists():
    stock = block("fallback=lambda sku: 0)\nasync")["stock"]
    asyncio.run(stock("a"))
    snapshot = stock.resilience.snapshot()

    assert (1, 0, 0.0, 0, 1) == (snapshot.requests, snapshot.errors, snapshot.error_rate, snapshot.in_flight,
                                 snapshot.max_in_flight)
    listed = re.search(r"snake case: (.*?)\.\n", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    grown = {"throttled", "retry", "shadow_rejected", "chaos", "rate_limited", "no_time_left", "hedge", "busy", "retry_left_to_caller", "failover", "stale_responses", "refresh", "refresh_failure"}  # what is counted besides: the contract may grow
    assert set(re.findall(r"\w+", listed)) | grown == set(snapshot.counts)
    for name in ("mean", "p0", "p25", "p50", "p75", "p90", "p95", "p99", "p995", "p100"):
        assert isinstance(getattr(snapshot.latency, name), float)
    with pytest.raises(AttributeError):
        snapshot.key = "other"


def test_registries_are_subscribed_to_iterated_and_isolated(capsys):
    stock = block("fallback=lambda sku: 0)\nasync")["stock"]
    clock = ManualClock(7.0)
    names = block("unsubscribe", my_clock=clock)
    stock.resilience.force_open()
    names["unsubscribe"]()
    stock.resilience.release()

    assert 1 == capsys.readouterr().out.count("StateChanged")
    assert names["handle"] is stock.resilience
    assert isinstance(names["mine"], Registry)
    assert 7.0 == names["mine"].clock()


def test_with_a_manual_clock_a_circuit_opens_probes_and_opens_again():
    names = block("ManualClock")
    flaky, clock = names["flaky"], names["clock"]
    for _ in range(4):
        with pytest.raises(OSError):
            flaky()

    with pytest.raises(resilience.CircuitOpenError) as refused:
        flaky()
    assert 5.0 == refused.value.retry_after
    clock.advance(5.0)
    with pytest.raises(OSError):
        flaky()
    assert "open" == flaky.resilience.state


def test_the_errors_form_the_tree_of_the_page_and_pickle():
    tree = {
        resilience.RejectedError: resilience.ResilienceError, resilience.CircuitOpenError: resilience.RejectedError,
        resilience.BulkheadFullError: resilience.RejectedError, resilience.RateLimitedError: resilience.RejectedError,
        resilience.FallbackRejectedError: resilience.RejectedError, resilience.CallTimeoutError: resilience.ResilienceError,
        resilience.ConfigError: resilience.ResilienceError, resilience.BadRequestError: resilience.ResilienceError,
    }
    for error, parent in tree.items():
        assert issubclass(error, parent)
    assert issubclass(resilience.CallTimeoutError, TimeoutError)
    assert issubclass(resilience.ConfigError, ValueError)
    again = pickle.loads(pickle.dumps(resilience.CallTimeoutError("k", 0.5)))
    assert ("k", 0.5) == (again.key, again.timeout)


def test_the_gateway_of_the_page_is_an_asgi_application(tmp_path, monkeypatch):
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "gateway.toml").write_text(toml, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    app = block("Gateway.from_file")["app"]

    assert inspect.iscoroutinefunction(app.__call__)
    command = default_registry["inventory"]
    assert (0.5, 100, 20, 5.0) == (command.settings.timeout, command.settings.max_concurrent,
                                   command.settings.breaker.min_calls, command.settings.breaker.open_for)
