"""``breaker = false`` in [defaults] or [groups] switched off the circuit breakers that decorators had given settings.

What the decorator said about one command was dropped where it equalled the library's default: that there is a breaker.
"""

import pytest

from resilience import Bulkhead, CircuitBreaker, Registry, circuit_breaker, command, explain
from resilience.config import configure

TABLES = ("defaults", "groups")


def configured(table, **settings):
    registry = Registry()
    configure({table: settings if table == "defaults" else {"shop": settings}}, registry=registry, environ={})
    return registry


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("table", TABLES)
def test_a_breaker_that_a_decorator_gives_settings_stays_on_when_all_are_switched_off(table, is_early):
    registry = configured(table, breaker=False) if is_early else Registry()

    @circuit_breaker(key="stock", group="shop", registry=registry, consecutive=2, failure_rate=None)
    def stock():
        raise OSError

    @command(key="price", group="shop", registry=registry, timeout=None)
    def price():
        return 7

    if not is_early:
        configure({table: {"breaker": False} if table == "defaults" else {"shop": {"breaker": False}}}, registry=registry,
                  environ={})
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011
            stock()

    assert "open" == stock.resilience.state
    assert (2, None) == (stock.resilience.settings.breaker.consecutive, stock.resilience.settings.breaker.failure_rate)
    assert price.resilience.settings.breaker is None
    assert "disabled" == price.resilience.state
    assert "consecutive" in str(explain(stock))


@pytest.mark.parametrize("table", TABLES)
def test_so_does_a_bulkhead_whose_number_is_the_usual_one(table):
    registry = configured(table, max_concurrent=False)
    wanted = Bulkhead(max_wait=2.0)
    waits = command(key="waits", group="shop", registry=registry, timeout=None, max_concurrent=wanted)(lambda: 1)
    usual = command(key="usual", group="shop", registry=registry, timeout=None)(lambda: 1)

    assert wanted == waits.resilience.settings.max_concurrent
    assert usual.resilience.settings.max_concurrent is None


@pytest.mark.parametrize("table", TABLES)
def test_what_is_said_of_one_command_in_the_file_switches_it_off_all_the_same(table):
    registry = Registry()
    stock = command(key="stock", group="shop", registry=registry, breaker=CircuitBreaker(consecutive=2))(lambda: 1)
    many = {"breaker": False}
    configure({table: many if table == "defaults" else {"shop": many}, "commands": {"stock": {"breaker": False}}},
              registry=registry, environ={})
    assert stock.resilience.settings.breaker is None
