"""A file that gives a keyed function a setting which it cannot have was applied, all but that, while it had no commands.

It is refused as a whole once the function has a command, and is now refused before.
"""

import gc

import pytest

from resilience import Registry, command, configure
from resilience.config import ConfigFileError


@pytest.fixture(name="home")
def _home():
    return Registry()


def keyed(home):
    @command(registry=home, key=lambda shop: shop, max_concurrent=3)
    def fetch(shop):
        return shop

    return fetch


def said(fetch, **settings):
    return {"commands": {"plain": {"max_concurrent": 7}, fetch.resilience.key: {"max_concurrent": 9, **settings}}}


@pytest.mark.parametrize("bad", [{"cache": {}}, {"adaptive_limit": {"max_queue": 3}}],
                         ids=lambda bad: next(iter(bad)))
@pytest.mark.parametrize("is_called", [False, True], ids=["before its first call", "afterwards"])
def test_nothing_of_the_file_is_in_force(home, bad, is_called):
    @command(registry=home, key="plain", max_concurrent=3)
    def plain():
        return 1

    fetch = keyed(home)
    if is_called:
        fetch("early")
    with pytest.raises(ConfigFileError, match="fetch"):
        configure(said(fetch, **bad), registry=home)
    fetch("late")
    assert [plain.resilience.settings.max_concurrent, *(one.settings.max_concurrent for one in fetch.resilience)] \
        == [3] * (3 if is_called else 2)


def test_what_it_can_have_is_in_force_for_keys_to_come(home):
    fetch = keyed(home)
    configure(said(fetch), registry=home)
    fetch("late")
    assert fetch.resilience["late"].settings.max_concurrent == 9


def test_a_function_that_is_gone_refuses_nothing(home):
    settings = said(keyed(home), cache={})
    gc.collect()
    configure(settings, registry=home)
