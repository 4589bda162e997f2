"""The lower wrappers of a stack lived on in a cycle and passed for other functions of the same key."""

import gc

from resilience import Registry, bulkhead, circuit_breaker, command, timeout

SOURCE = """
@circuit_breaker(failure_rate={rate}, registry=registry)
@bulkhead({size}, registry=registry)
@timeout({seconds}, registry=registry)
async def stock():
    return {size}
"""


def test_a_cell_that_defines_a_stack_can_be_run_again_with_other_settings():
    registry = Registry()
    cell = {"__name__": "notebook", "circuit_breaker": circuit_breaker, "bulkhead": bulkhead, "timeout": timeout,
            "command": command, "registry": registry}
    gc.disable()
    try:
        exec("@command(registry=registry)\nasync def stock(): ...", cell)
        for rate, size, seconds in ((0.3, 20, 0.5), (0.4, 30, 0.7)):
            exec(SOURCE.format(rate=rate, size=size, seconds=seconds), cell)
    finally:
        gc.enable()
    settings = cell["stock"].resilience.settings

    assert (0.4, 30, 0.7) == (settings.breaker.failure_rate, settings.max_concurrent, settings.timeout)
    assert 1 == len(registry)
