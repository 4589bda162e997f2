"""A notebook's cell with ``key=`` could not be run again with another timeout."""

import pytest

from resilience import ConfigError, command

CELL = "@command(key='k', registry=registry, timeout={seconds})\nasync def {name}(): ..."


def test_a_cell_with_an_explicit_key_may_be_run_again_with_other_settings(registry):
    cell = {"__name__": "notebook", "command": command, "registry": registry}
    for seconds in (0.5, 0.7):
        exec(CELL.format(name="stock", seconds=seconds), cell)

    assert 0.7 == registry["k"].settings.timeout


def test_another_function_with_that_key_must_agree_still(registry):
    cell = {"__name__": "notebook", "command": command, "registry": registry}
    exec(CELL.format(name="stock", seconds=0.5), cell)

    with pytest.raises(ConfigError, match="timeout"):
        exec(CELL.format(name="price", seconds=0.7), cell)


def test_a_method_may_be_defined_again_under_a_third_partys_decorator(registry):
    def third_party(fn):
        def wrapper(*args):
            return fn(*args)

        wrapper.__wrapped__ = fn
        return wrapper

    cell = {"__name__": "notebook", "command": command, "registry": registry, "third_party": third_party}
    for seconds in (0.5, 0.7):
        exec(f"class Client:\n @third_party\n @command(registry=registry, timeout={seconds})\n def get(self): ...", cell)

    assert 0.7 == registry["notebook.Client.get"].settings.timeout
