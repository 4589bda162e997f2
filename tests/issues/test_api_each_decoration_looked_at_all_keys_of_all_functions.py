"""Each decoration looked at every key there was for idle ones: 18 ms with 10,000 keys, under the registry's lock.

Functions are decorated at run time too: by Pipeline.call(), and by clients that guard their own methods. And so did
get() of a key that is not there, for it might have been the key of a failover's target.
"""

import sys

from resilience import Bulkhead, Pipeline, Registry, command
from resilience.commands.keyspace import KeyEntry, Keyspace


def test_a_decoration_looks_at_no_keys_and_a_reader_lets_the_idle_ones_go(monkeypatch):
    now = 0.0
    registry = Registry(clock=lambda: now)

    @command(registry=registry, key=lambda key: key, idle=10.0)
    def keyed(key):
        return key

    looked = []
    is_idle = Keyspace._is_idle
    monkeypatch.setattr(Keyspace, "_is_idle", lambda self, cell, now: looked.append(cell) or is_idle(self, cell, now))
    keyed("a"), keyed("b")
    looked.clear()
    now = 60.0
    pipeline = Pipeline(Bulkhead(3), registry=registry)
    assert pipeline.call(lambda: 1) == 1
    assert looked == []
    assert [handle.key for handle in registry if handle.key in "ab"] == []


def test_who_asks_for_a_key_that_is_not_there_looks_at_no_other(registry):
    @command(registry=registry, key=lambda key: key)
    def keyed(key):
        return key

    keyed("a"), keyed("b")
    looked = []

    def count(frame, event, _argument):
        if event == "call" and frame.f_code is KeyEntry.commands.fget.__code__:
            looked.append(frame)

    sys.setprofile(count)
    try:
        found = [keyed.resilience.get("c"), "c" in keyed.resilience]
    finally:
        sys.setprofile(None)
    assert (found, looked) == ([None, False], [])
    assert keyed.resilience.get("a") is registry["a"]
