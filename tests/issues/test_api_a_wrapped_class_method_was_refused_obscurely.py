"""A decorator of wrapt's over ``@classmethod`` looks like a classmethod to isinstance(), but cannot be made as one:
"FunctionWrapper() missing required argument 'wrapper'". What is to be written stands in the message, and works.
"""

import pytest
import wrapt

from resilience import circuit_breaker, collapse, command, guard_class
from tests.issues.hostile import ended


@wrapt.decorator
def traced(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
@pytest.mark.parametrize("make", [lambda registry: command(registry=registry, timeout=None),
                                  lambda registry: circuit_breaker(registry=registry), lambda registry: collapse],
                         ids=["command", "breaker", "collapse"])
def test_what_to_write_is_said_and_works(registry, kind, make):
    decorate = make(registry)

    def get(*args):
        return [1 for _ in args[-1]]

    error = ended(lambda: decorate(traced(kind(get))))
    assert TypeError is type(error)
    assert f"put @{kind.__name__} on top of @" in str(error)

    class Shop:
        if kind is classmethod:
            @kind
            @decorate
            @traced
            def get(cls, ids):
                return [1 for _ in ids]
        else:
            @kind
            @decorate
            @traced
            def get(ids):
                return [1 for _ in ids]

    assert Shop.get(7) == 1 if decorate is collapse else Shop.get([7]) == [1]


def test_a_guarded_class_says_it_too(registry):
    class Shop:
        @traced
        @classmethod
        def get(cls):
            pass

    with pytest.raises(TypeError, match="put @classmethod on top of"):
        guard_class(registry=registry, timeout=None)(Shop)
