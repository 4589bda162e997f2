"""Pipeline.call kept each function it was ever given, and could not hash some: memory grew with every lambda."""

import gc
import weakref

from resilience import Bulkhead, Pipeline, Timeout, timeout


def test_functions_made_for_one_call_do_not_pile_up(registry):
    pipeline = Pipeline(Bulkhead(2), key="k", registry=registry)
    made = []
    for i in range(300):
        def call(i=i):
            return i

        made.append(weakref.ref(call))
        assert i == pipeline.call(call)
    del call
    gc.collect()

    assert sum(ref() is not None for ref in made) <= 128
    assert 300 == registry["k"].snapshot().counts["success"]


def test_a_callable_that_cannot_be_hashed_can_be_called(registry):
    class Unhashable:
        __hash__ = None

        def __call__(self):
            return "called"

    assert "called" == Pipeline(Bulkhead(2), key="k", registry=registry).call(Unhashable())


def test_calling_a_function_that_is_guarded_leaves_its_own_command_alone(registry):
    """The function goes on, so its command must not leave the registry as a lower part of a stack does."""
    @timeout(0.5, registry=registry, key="own")
    def call(): ...

    Pipeline(Bulkhead(2), Timeout(5.0), key="pipeline", registry=registry).call(call)

    assert {"own", "pipeline"} == {handle.key for handle in registry}
    assert [1, 1] == [handle.snapshot().counts["success"] for handle in registry]
