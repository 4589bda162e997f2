"""A keyed function kept the change of all its keys as it was written, and read it anew for each key.

Of failure rules that can be read but once, as their type allows, the first look took all: every key had rules that say
nothing. A list that its owner changed later was another one for later keys.
"""

from resilience import CircuitBreaker, command


def guarded(registry):
    @command(registry=registry, key=lambda shop: shop, breaker=CircuitBreaker(), failures=[ValueError])
    def fetch(shop):
        return shop

    fetch("early")
    return fetch


def of_each(fetch, name):
    fetch("late")
    return [getattr(handle.settings, name) for handle in fetch.resilience]


def test_rules_that_can_be_read_but_once_are_in_force_for_all_keys(registry):
    fetch = guarded(registry)

    fetch.resilience.configure(failures=iter([OSError, KeyError]))

    assert [(OSError, KeyError)] * 2 == [rules.exceptions for rules in of_each(fetch, "failures")]


def test_a_list_that_is_changed_afterwards_is_not_read_again(registry):
    fetch, rules, shadow = guarded(registry), [OSError], ["breaker"]

    fetch.resilience.configure(failures=rules, shadow=shadow)
    rules.clear()
    shadow.clear()

    assert [(OSError,)] * 2 == [kept.exceptions for kept in of_each(fetch, "failures")]
    assert [("breaker",)] * 2 == of_each(fetch, "shadow")
