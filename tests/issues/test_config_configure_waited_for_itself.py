"""A listener, or a module that a file imports, which called configure() for the same registry, waited for itself for ever."""

import sys
import threading

import pytest

from resilience import ConfigError, Registry, command, configure
from resilience.config.mistakes import ConfigFileError
from resilience.events import ConfigurationApplied

PATIENCE_S = 30.0  # only where it hangs


def done(work):
    """What *work* returned or raised, unless it hangs."""
    ends = []

    def run():
        try:
            ends.append(work())
        except Exception as error:
            ends.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "it waits for itself"
    return ends[0]


def limits(number):
    return {"commands": {"k": {"max_concurrent": number}}}


def test_a_listener_that_configures_is_told_that_it_cannot_and_what_it_heard_of_is_in_force():
    registry, ends = Registry(), []
    call = command(key="k", registry=registry, timeout=None)(len)

    def heard(event):
        with pytest.raises(ConfigError, match="by a listener that hears of it") as caught:
            configure(limits(3), registry=registry)
        ends.append(caught.value)

    end = registry.subscribe(ConfigurationApplied, heard)
    done(lambda: configure(limits(5), registry=registry))
    end()

    assert (1, 5) == (len(ends), call.resilience.settings.max_concurrent)
    done(lambda: configure(limits(7), registry=registry))
    assert 7 == call.resilience.settings.max_concurrent


def test_a_module_that_a_file_imports_and_that_configures_is_a_mistake_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "configures_at_import.py").write_text(
        "import resilience\nimport registry_of_the_test\n"
        "resilience.configure({}, registry=registry_of_the_test.REGISTRY)\n")
    monkeypatch.syspath_prepend(tmp_path)
    holder = type(sys)("registry_of_the_test")
    holder.REGISTRY = registry = Registry()
    monkeypatch.setitem(sys.modules, "registry_of_the_test", holder)

    refused = done(lambda: configure({"imports": ["configures_at_import"]}, registry=registry))

    assert isinstance(refused, ConfigFileError)
    assert "configures_at_import cannot be imported: ConfigError: configure() was called while" in str(refused)
