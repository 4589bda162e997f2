"""``key=Target.STOCK``, a member of ``class Target(str, Enum)``, was the command ``stock`` to Prometheus, streams and files, and
``Target.STOCK`` in errors, logs and reprs. A failover's commands had such keys, so that no file found them.
"""

import asyncio
import enum
import json
from typing import Any

import attrs
import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    Failover,
    Pipeline,
    Registry,
    Retry,
    block,
    command,
    configure,
    explain,
    timeout,
)


class Target(str, enum.Enum):  # noqa: UP042 - a StrEnum prints its text
    STOCK = "stock"
    EU = "eu"
    GRADIENT = "gradient"


def declared(how, registry) -> Any:
    if how == "block":
        return block(Target.STOCK, group=Target.EU, registry=registry)
    if how == "pipeline":
        return Pipeline(Bulkhead(3), key=Target.STOCK, group=Target.EU, registry=registry)(lambda: 1)
    if how == "single policy":
        return timeout(1.0, key=Target.STOCK, group=Target.EU, registry=registry)(lambda: 1)
    return command(key=Target.STOCK, group=Target.EU, registry=registry)(lambda: 1)


@pytest.mark.parametrize("how", ["command", "single policy", "pipeline", "block"])
def test_a_key_and_a_group_are_the_text_alone(how):
    registry = Registry()
    kept = declared(how, registry)
    handle = registry["stock"]
    assert (str, str) == (type(handle.key), type(handle.group))
    assert ("stock", "eu") == (str(handle.key), str(handle.group))
    assert "<command 'stock' " in repr(handle)
    assert how != "block" or "<block 'stock'>" == repr(kept)
    assert str(explain(Target.STOCK, registry=registry)).startswith("stock (group eu)")


def test_errors_name_the_command_as_files_and_streams_do():
    registry = Registry()

    @command(key=Target.STOCK, registry=registry, timeout=None, breaker=CircuitBreaker(consecutive=1, failure_rate=None))
    def stock():
        raise OSError

    with pytest.raises(OSError):
        stock()
    with pytest.raises(CircuitOpenError, match="^stock: ") as refused:
        stock()
    assert "stock" == refused.value.key == json.loads(json.dumps(stock.resilience.snapshot().as_dict()))["key"]


def test_the_commands_of_a_failover_are_found_by_a_file_and_the_function_gets_what_it_was_declared_with():
    registry, seen = Registry(), []

    @command(key=Target.STOCK, registry=registry, failover=Failover([Target.EU]), timeout=1.0)
    async def stock(target=None):
        seen.append(target)

    configure({"commands": {"stock[eu]": {"timeout": 3}}}, registry=registry)
    assert ["stock[eu]"] == [handle.key for handle in registry]
    assert 3.0 == registry["stock[eu]"].settings.timeout
    asyncio.run(stock())
    assert seen[0] is Target.EU


def test_a_word_of_a_policy_is_the_text_alone():
    assert str is type(AdaptiveLimit(algorithm=Target.GRADIENT).algorithm)
    with pytest.raises(ValueError, match="did you mean gradient"):
        AdaptiveLimit(algorithm="gradeint")
    assert "full" == attrs.evolve(Retry(), jitter="full").jitter
