"""Compiles a wrapper's text once and binds it to each function that has it.

The text is registered with linecache, so tracebacks and pdb show it. A name that
the text uses and nobody binds is an error when the function is decorated, not when it
is called.

How a chain of policies becomes a wrapper: each kit binds what its text needs to the
function's Site, the innermost first, so that what stands in for the function (chaos, a hedge)
is what those above it call; the texts of the gates become one function; and what stands over
the text (a cache) is put on last.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import linecache
import symtable
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..drivers.deadline_context import wrapper_globals
from .call import Call, Parameters
from .call_accounting import EVENT_OF
from .site import Site
from .template import source
from .wrapper_spec import Flavour, WrapperSpec

#: What makes a wrapper, the names that it wants, and the variables of its text.
Made = tuple[Callable[..., Callable[..., Any]], tuple[str, ...], frozenset[str]]

_written_out = True


@contextlib.contextmanager
def plain_way() -> Iterator[None]:
    """Compile by the plain texts within the block: each gate's machine is called. For tests, which compare the two."""
    global _written_out
    before, _written_out = _written_out, False
    try:
        yield
    finally:
        _written_out = before


def compiled(site: Site, beneath: Callable[[Any], Any] = lambda guarded: guarded) -> Any:
    """The wrapper of a function, with the names of its text bound.

    Args:
        site: The function.
        beneath: What is put on before the layers are.

    Raises:
        LookupError: A text uses a name that nobody binds.
    """
    site.names.update(fn=None, clock=site.runtime.clock, classify=site.accounting.classify,
                      should_fall_back=site.accounting.should_fall_back, emitted=site.accounting.emitted,
                      EVENT_OF=EVENT_OF,
                      belated=site.accounting.belated if site.answers else site.accounting.refused_belated)
    site.names.update(site.runtime.recording())
    if site.flavour is Flavour.THREAD:
        site.names.update(site.runtime.isolating())
    for kit, policy in reversed(tuple(site.chain.items())):
        kit.install(site, policy, site.runtime.of(kit))
    site.names.update(fn=site.called, fall_back=site.fall_back)
    spec = spec_of(site)
    if any(gate.sees_call for gate in spec.gates):
        site.names["view"] = functools.partial(Call, Parameters(site.fn))
    guarded = beneath(bound(*_maker(spec), site.names))
    for layer in site.layers:
        guarded = layer(guarded)
    if site.layers and site.judges:
        guarded = site.names["judging"].over_layers(guarded, site.flavour)
    return guarded


def spec_of(site: Site) -> WrapperSpec:
    """What the text of a function's wrapper depends on."""
    texts = {kit.name: text for kit, policy in site.chain.items()
             if (text := kit.text_of(_written_out, policy, site.flavour)) is not None}
    retry = next((policy for kit, policy in site.chain.items() if kit.name == "retry"), None)
    names = [site.flavour.value, *([] if _written_out else ["plain"])]
    for kit in site.chain:
        names += [kit.name, texts[kit.name].label] if kit.name in texts and texts[kit.name].label else [kit.name]
    return WrapperSpec(
        flavour=site.flavour, gates=tuple(texts.values()), label=" ".join(names),
        deadline=site.flavour.is_async and site.has("timeout"), fallback=site.has("fallback"),
        failover="first" if site.is_first_target else "target" if site.has("failover") else "",
        retry=retry is not None, retry_results=retry is not None and retry.on_result is not None,
        judges="results inline" if _written_out and site.judges == "results" else site.judges,
        returns_failures=bool(site.judges) and not site.layers and not site.is_beneath_layers)


@functools.cache
def _maker(spec: WrapperSpec) -> Made:
    results = " results" if spec.retry_results else ""
    judges = f" {spec.judges}" if spec.judges else ""
    failover = f" {spec.failover}" if spec.failover else ""
    raises = " raised" if spec.judges and not spec.returns_failures else ""
    return made(source(spec), f"<resilience {spec.label}{results}{judges}{raises}{failover}>")


def made(text: str, filename: str) -> Made:
    """What binds the function ``guarded`` that *text* defines; the names that it is to be given; those of its own."""
    names, variables = names_in(text)
    text = f"def make({', '.join(names)}):\n{textwrap.indent(text, '    ')}    return guarded\n"
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    scope: dict[str, Any] = {}
    exec(compile(text, filename, "exec"), wrapper_globals, scope)
    return scope["make"], names, variables


def bound(make: Callable[..., Callable[..., Any]], wanted: tuple[str, ...], variables: frozenset[str],
          names: Mapping[str, Any]) -> Any:
    """The function that *make* returns for the *names* that it wants.

    Raises:
        LookupError: One of them is not there, or one of the text's *variables* hides another.
    """
    missing = [name for name in wanted if name not in names]
    if missing:
        raise LookupError(f"the text of a wrapper uses {', '.join(missing)}, which no kit binds")
    hidden = [name for name in variables if name in names]
    if hidden:
        raise LookupError(f"the text of a wrapper has variables called {', '.join(hidden)}, which a kit binds")
    return make(**{name: names[name] for name in wanted})


def names_in(text: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """The names that the function in *text* uses and does not set, in the order of the alphabet, and those it sets."""
    symbols = symtable.symtable(text, "guarded", "exec").get_children()[0].get_symbols()
    free = sorted(symbol.get_name() for symbol in symbols
                  if symbol.is_global() and symbol.get_name() not in wrapper_globals
                  and not hasattr(builtins, symbol.get_name()))
    return tuple(free), frozenset(symbol.get_name() for symbol in symbols if symbol.is_local())
