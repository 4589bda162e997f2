"""A stack that got its key at the top told listeners of the lower key's removal while it held the registry's lock.

A listener that waits for another thread, which decorates, would have waited for ever.
"""

import threading

from resilience import StateChanged, bulkhead, circuit_breaker, command
from resilience.events import CommandAdded, CommandConfigured, CommandRemoved


def test_no_listener_is_called_under_the_registrys_lock(registry):
    heard, free = [], []

    def listener(event):
        def other():
            free.append(registry._table.lock.acquire(timeout=30.0))
            if free[-1]:
                registry._table.lock.release()

        heard.append(type(event))
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    for kind in (CommandAdded, CommandRemoved, CommandConfigured, StateChanged):
        registry.subscribe(kind, listener)

    @circuit_breaker(key="top", registry=registry)
    @bulkhead(3, registry=registry)
    async def call(): ...

    call.resilience.configure(max_concurrent=4, breaker=None)
    registry.remove("top")
    cell = {"__name__": "notebook", "command": command, "registry": registry}
    exec("@command(registry=registry)\nasync def stock(): ...", cell)
    exec("@command(registry=registry, breaker=None)\nasync def stock(): ...", cell)

    assert {CommandAdded, CommandRemoved, CommandConfigured, StateChanged} == set(heard)
    assert {True} == set(free)
