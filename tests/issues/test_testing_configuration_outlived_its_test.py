"""restored(), and so the fixture resilience_reset, left a configuration of the block in force: its defaults for every
command to come, and its guards in modules.
"""

import sys
import types

from resilience import command
from resilience.config import configure
from resilience.testing import restored


def test_a_configuration_made_in_the_block_ends_with_it(registry, monkeypatch):
    module = types.ModuleType("vendor_of_one_test")
    module.f = raw = lambda: 1
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with restored(registry):
        configure({"defaults": {"max_concurrent": 9}, "guards": {"vendor_of_one_test:f": {}}}, registry=registry,
                  environ={})
        assert module.f is not raw
    assert module.f is raw
    assert 10 == command(key="k", registry=registry)(len).resilience.settings.max_concurrent


def test_a_configuration_from_before_the_block_stays(registry):
    configuration = configure({"defaults": {"max_concurrent": 9}}, registry=registry, environ={})
    with restored(registry):
        pass
    assert 9 == command(key="k", registry=registry)(len).resilience.settings.max_concurrent
    configuration.close()
