"""A generator, which no timeout can reach, was taken to say timeout=None, and so never agreed with a coroutine."""

import pytest

from resilience import ConfigError, command


def test_a_generator_says_nothing_about_the_timeout(registry):
    @command(key="k", registry=registry)
    def rows():
        yield 1

    @command(key="k", registry=registry)
    async def row(): ...

    assert rows.resilience is row.resilience
    assert 1.0 == row.resilience.settings.timeout


def test_a_none_that_was_said_is_said(registry):
    @command(key="k", registry=registry, timeout=None)
    def rows():
        yield 1

    with pytest.raises(ConfigError, match="timeout"):
        @command(key="k", registry=registry, timeout=0.5)
        async def row(): ...
