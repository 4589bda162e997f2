"""What functools.lru_cache makes is a method, but its guard was not; a builtin is none, but its guard was."""

import functools

from resilience import command


def test_a_guarded_lru_cache_binds_as_it_did(registry):
    class Client:
        @command(registry=registry, timeout=None)
        @functools.lru_cache(maxsize=8)
        def read(self, n):
            return self, n

    client = Client()

    assert (client, 1) == client.read(1) == Client.read(client, 1)
    assert client.read.resilience is Client.read.resilience
    assert 1 == Client.read.cache_info().hits


def test_a_guarded_builtin_in_a_class_does_not_bind(registry):
    class Client:
        size = command(key="len", registry=registry, timeout=None)(len)
        parse = staticmethod(command(key="int", registry=registry, timeout=None)(functools.partial(int, base=2)))

    assert (3, 5) == (Client().size("abc"), Client().parse("101"))
