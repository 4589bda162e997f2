"""Two lambdas, or a property's getter and setter, passed for one function defined again: the last one's settings won."""

import pytest

from resilience import ConfigError, command

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
def test_namesakes_that_disagree_are_told_so(registry, source):
    with pytest.raises(ConfigError, match="timeout"):
        exec(source, {"__name__": "module", "command": command, "registry": registry})


def test_a_property_may_be_defined_again(registry):
    cell = {"__name__": "module", "command": command, "registry": registry}
    for seconds in (1.0, 2.0):
        exec(PROPERTY.replace("1.0", "2.0").replace("2.0", str(seconds)), cell)

    assert 2.0 == registry["module.C.x"].settings.timeout
