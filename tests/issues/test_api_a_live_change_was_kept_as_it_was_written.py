"""configure() kept each value in the form in which it was written, where decorators bring it into one.

Settings had a Timeout in the place of seconds, and a list of exceptions in that of FailureRules: nothing more came over
the Hystrix stream, and explain() raised an AttributeError, or a TypeError for a keyed function with shadow=True.
A change of the fallback, which is none of a command's settings, was an AttributeError and no ConfigError.
"""

import asyncio
import json

import pytest

from resilience import Bulkhead, ConfigError, FailureRules, Timeout, command, explain, http_status
from resilience.metrics.hystrix import Encoder, config_message

FORMS = [
    ("timeout", Timeout(2.0), 2.0), ("timeout", Timeout(None), None),
    ("max_concurrent", Bulkhead(7), 7), ("max_concurrent", Bulkhead(7, max_queue=5), Bulkhead(7, max_queue=5)),
    ("failures", [OSError], FailureRules(exceptions=(OSError,))), ("failures", http_status(), FailureRules(status=http_status())),
    ("shadow", "breaker", ("breaker",)), ("shadow", ["max_concurrent", "breaker"], ("breaker", "max_concurrent"))]


def guarded(registry, **options):
    @command(registry=registry, timeout=1.0, max_concurrent=3, failures=FailureRules(), fallback=str, **options)
    async def fetch(shop="a"):
        return shop

    return fetch


@pytest.mark.parametrize(("name", "written", "kept"), FORMS)
def test_a_live_change_is_kept_in_one_form(registry, name, written, kept):
    fetch = guarded(registry)

    fetch.resilience.configure(**{name: written})

    assert kept == getattr(fetch.resilience.settings, name)
    assert all(json.loads(text) for text in Encoder().messages(registry, 0))
    assert json.loads(config_message(registry))
    assert "configure() of its handle" in str(explain(fetch))


@pytest.mark.parametrize(("name", "written", "kept"), FORMS)
def test_so_is_one_of_all_keys(registry, name, written, kept):
    fetch = guarded(registry, key=lambda shop="a": shop)

    fetch.resilience.configure(**{name: written})
    asyncio.run(fetch())

    assert [kept] == [getattr(handle.settings, name) for handle in fetch.resilience]
    assert "configure() of its handle" in str(explain(fetch))


def test_all_gates_of_all_keys_in_shadow_mode_are_explained(registry):
    fetch = guarded(registry, key=lambda shop="a": shop)

    fetch.resilience.configure(shadow=True)

    assert "CircuitBreaker (shadow) > Bulkhead (shadow)" in str(explain(fetch))


def test_a_whole_bulkhead_replaces_the_wait_of_all_keys_and_a_number_does_not(registry):
    @command(registry=registry, key=lambda shop: shop, max_concurrent=Bulkhead(3, max_wait=1.0))
    async def fetch(shop):
        return shop

    asyncio.run(fetch("a"))
    for written, kept in ((Bulkhead(7), 7), (Bulkhead(7, max_wait=2.0), Bulkhead(7, max_wait=2.0)), (5, Bulkhead(5, max_wait=2.0))):
        fetch.resilience.configure(max_concurrent=written)
        assert kept == fetch.resilience["a"].settings.max_concurrent
    asyncio.run(fetch("b"))
    assert kept == fetch.resilience["b"].settings.max_concurrent  # as the keys that there were


def test_what_is_no_setting_of_a_command_is_a_mistake_that_says_so(registry):
    with pytest.raises(ConfigError, match="fallback cannot be changed on a live command"):
        guarded(registry).resilience.configure(fallback=str)
