"""An object with an async ``__call__`` was taken as a plain function's fallback, and its coroutine never awaited."""

import pytest

from resilience import ConfigError, command


class Instead:
    async def __call__(self):
        return "fallback"


def test_an_async_callable_object_is_no_fallback_for_a_plain_function(registry):
    with pytest.raises(ConfigError, match="nobody would await it") as caught:
        command(registry=registry, timeout=None, fallback=Instead())(lambda: 1)

    assert "fallback" == caught.value.option


async def test_it_is_one_for_a_coroutine_function(registry):
    @command(registry=registry, fallback=Instead())
    async def call():
        raise OSError

    assert "fallback" == await call()
