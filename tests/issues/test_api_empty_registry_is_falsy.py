"""``registry or default_registry`` put commands meant for an empty registry, which has length 0, into the default one."""

from resilience import Registry, command, default_registry


def test_a_command_goes_into_the_empty_registry_it_was_given():
    mine = Registry()
    command(key="falsy", registry=mine)(len)

    assert "falsy" in mine
    assert "falsy" not in default_registry
