"""A guarded bound method took over the ``resilience`` of the method below it, which is guarded too."""

from resilience import Registry, command


def test_a_guarded_bound_method_shows_its_own_command():
    registry = Registry()

    class Client:
        @command(key="method", registry=registry, timeout=None)
        def read(self):
            return 1

    bound = command(key="bound", registry=registry, timeout=None)(Client().read)
    bound()

    assert "bound" == bound.resilience.key
    assert 1 == registry["bound"].snapshot().counts["success"]
