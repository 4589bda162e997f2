"""Decorators that read a function's parameters evaluated its annotations (python/cpython#152835, micheles/decorator#181).

On Python 3.14 these may name what is defined later or for type checkers only, so that cache, fallback and collapse
raised NameError at decoration. Older versions do so for objects that compute their signature or annotations.
"""

import asyncio
import functools
import inspect
import sys

import pytest

from resilience import Fallback, Pipeline, Timeout, cache, collapse, command, fallback
from resilience.core.parameters import signature_of
from resilience.integrations.circuitbreaker import CircuitBreaker

MODULE = '''
def parent(node: Node, *, depth: Depth = 1) -> Node: return (node, depth)
async def later(node: Node, *, depth: Depth = 1) -> Node: return (node, depth)
def many(nodes: list[Node]) -> list[Node]: return nodes
def ill(node: Node) -> Node: raise OSError
def instead(node: Node, *, error: Broken[1 / 0]) -> Node: return error
class Tree:
    def parent(self, node: Tree, *, depth: Depth = 1) -> Tree: return (node, depth)
    def many(self, nodes: list[Tree]) -> list[Tree]: return nodes
    def __call__(self, node: Node, *, depth: Depth = 1) -> Node: return (node, depth)
    def instead(self, node: Node, *, error: Broken[1 / 0]) -> Node: return error
'''
FUTURE = "from __future__ import annotations\n"


def module():
    """The module as people write it: with the future import where annotations are evaluated at definition."""
    names = {"__name__": "tree"}
    exec((FUTURE if sys.version_info < (3, 14) else "") + MODULE, names)
    return names


class NoSignature:
    """An object whose signature and annotations are computed, and cannot be."""

    def __call__(self, node, *, depth=1):
        return node, depth

    @property
    def __signature__(self):
        raise NameError("name 'Node' is not defined")

    @property
    def __annotations__(self):
        raise NameError("name 'Node' is not defined")


class NoSignatureButError(NoSignature):
    def __call__(self, node, *, error):
        return error


class NoSignatureButList(NoSignature):
    def __call__(self, ids):
        return ids


def callables():
    names = module()
    tree = names["Tree"]()
    return {"function": names["parent"], "method": tree.parent, "object": tree, "unbound": functools.partial(names["Tree"].parent, tree),
            "partial": functools.partial(names["parent"], depth=1), "hostile": NoSignature(),
            "partial of a hostile one": functools.partial(NoSignature(), depth=1)}


@pytest.mark.parametrize("kind", callables())
def test_a_cache_goes_by_the_names_of_parameters_alone(registry, kind):
    fn = callables()[kind]
    cached = cache(ttl=5.0, registry=registry)(fn)
    assert (1, 1) == cached(1) == cached(node=1)
    if "partial" not in kind:
        assert 1 == cached.resilience.snapshot().counts["responses_from_cache"]
    with pytest.raises(TypeError, match="cannot be hashed"):
        cached([])


@pytest.mark.parametrize("kind", callables())
def test_every_other_decorator_takes_it(registry, kind):
    fn = callables()[kind]
    assert (1, 1) == command(registry=registry, timeout=None)(fn)(1)
    assert (1, 1) == Pipeline(Fallback(fn), Timeout(None), registry=registry).call(fn, 1)
    assert (1, 1) == CircuitBreaker(name=kind, registry=registry).decorate(fn)(1)


@pytest.mark.parametrize("instead", [lambda names: names["instead"], lambda names: names["Tree"]().instead,
                                     lambda names: functools.partial(names["instead"]),
                                     lambda names: NoSignatureButError()])
def test_a_fallback_is_given_the_error_for_its_name_alone(registry, instead):
    names = module()
    guarded = fallback(instead(names), registry=registry)(names["ill"])
    assert isinstance(guarded(1), OSError)


def test_a_batch_function_is_told_by_its_parameters_alone():
    names = module()
    assert "a" == collapse(names["many"])("a")
    assert "a" == collapse(names["Tree"].many)(names["Tree"](), "a")
    assert "a" == collapse(NoSignatureButList())("a")


def test_a_coroutine_function_keeps_its_annotations_unread(registry):
    later = module()["later"]
    cached = cache(ttl=5.0, registry=registry)(later)
    assert (1, 1) == asyncio.run(cached(1))
    assert later is cached.__wrapped__


def test_what_has_no_signature_has_none():
    assert signature_of(type("Odd", (), {"__call__": property(lambda self: 1 / 0)})()) is None
    assert list(inspect.signature(len).parameters) == list(signature_of(len).parameters)
