"""A function of another module that joined a command brought the threads of its own module's group."""

import pytest

from resilience import ConfigError, command


def test_the_threads_are_those_of_the_commands_group(registry):
    @command(key="k", group="inventory", registry=registry)
    async def fetch(): ...

    @command(key="k", registry=registry, timeout=1.0)
    def read(): ...

    read()
    assert ["inventory"] == list(registry.pools())
    assert "inventory" == read.resilience.pool.name


def test_a_redefinition_in_another_group_is_not_taken_silently(registry):
    """It kept the old group, and said nothing."""
    cell = {"__name__": "notebook", "command": command, "registry": registry}
    exec("@command(group='a', registry=registry)\nasync def stock(): ...", cell)
    with pytest.raises(ConfigError, match="group 'a' already") as caught:
        exec("@command(group='b', registry=registry)\nasync def stock(): ...", cell)

    assert "group" == caught.value.option
