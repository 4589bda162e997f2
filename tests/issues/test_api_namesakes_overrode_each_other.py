"""Two lambdas, or a property's getter and setter, passed for one function defined again: the last one's settings won."""

import pytest

from resilience import command

LAMBDAS = "a = command(registry=registry, timeout=1.0)(lambda: 1)\nb = command(registry=registry, timeout=2.0)(lambda: 2)"
PROPERTY = """
class C:
    @property
    @command(registry=registry, timeout=1.0)
    def x(self): ...

    @x.setter
    @command(registry=registry, timeout=2.0)
    def x(self, value): ...
"""


@pytest.mark.parametrize("source", [LAMBDAS, PROPERTY])
def test_namesakes_that_disagree_have_commands_of_their_own(registry, source):
    exec(source, {"__name__": "module", "command": command, "registry": registry})

    assert [1.0, 2.0] == [handle.settings.timeout for handle in registry]


def test_a_property_may_be_defined_again(registry):
    cell = {"__name__": "module", "command": command, "registry": registry}
    for seconds in (1.0, 2.0):
        exec(PROPERTY.replace("1.0", "2.0").replace("2.0", str(seconds)), cell)

    assert 2.0 == registry["module.C.x"].settings.timeout


def test_a_property_that_is_defined_again_keeps_getter_and_setter_apart(registry):
    cell = {"__name__": "module", "command": command, "registry": registry}
    for _ in range(3):
        exec(PROPERTY, cell)
        getter, setter = cell["C"].x.fget, cell["C"].x.fset

        assert "module.C.x" == getter.resilience.key
        assert getter.resilience is not setter.resilience
