"""Compiles a wrapper's text once and binds it to each function that has it.

How a chain of policies becomes a wrapper: each kit binds what its text needs to the
function's Site, the innermost first, so that what stands in for the function (chaos, a hedge)
is what those above it call; the texts of the gates become one function; and what stands over
the text (a cache) is put on last.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from ..core.retry import most_held
from ..drivers.deadline_context import wrapper_globals
from .call import Call, Parameters
from .call_accounting import EVENT_OF
from .compiled_text import CompiledText
from .site import Site
from .template import source
from .wrapper_spec import Flavour, WrapperSpec

wrapper_globals["EVENT_OF"] = EVENT_OF  # the same for all: a name that is bound takes 48 bytes of each wrapper

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
    bind(site)
    site.names.update(fn=site.called, fall_back=site.fall_back)
    spec = spec_of(site)
    if any(gate.sees_call for gate in spec.gates):
        site.names["view"] = functools.partial(Call, Parameters(site.fn))
    guarded = beneath(_text(spec).bind(site.names))
    for layer in site.layers:
        guarded = layer(guarded)
    if site.layers and site.judges:
        guarded = site.names["judging"].over_layers(guarded, site.flavour)
    return guarded


def bind(site: Site) -> None:
    """Bind the names of the texts of its policies, whose machines learn what the function is compiled for."""
    site.names.update(fn=None, clock=site.runtime.clock, accounting=site.accounting)
    site.names.update(site.runtime.recording())
    if site.flavour is Flavour.THREAD:
        site.names.update(site.runtime.isolating())
    for kit, policy in reversed(tuple(site.chain.items())):
        kit.install(site, policy, site.runtime.of(kit))


def spec_of(site: Site) -> WrapperSpec:
    """What the text of a function's wrapper depends on."""
    texts = {kit.name: text for kit, policy in site.chain.items()
             if (text := kit.text_of(_written_out, policy, site.flavour)) is not None}
    retry = next((policy for kit, policy in site.chain.items() if kit.name == "retry"), None)
    names = [site.flavour.value, *([] if _written_out else ["plain"])]
    for kit in site.chain:
        names += [kit.name, texts[kit.name].label] if kit.name in texts and texts[kit.name].label else [kit.name]
    if site.fall_back is not None and not site.has("fallback"):
        names.append("stale")
    return WrapperSpec(
        flavour=site.flavour, gates=tuple(texts.values()), label=" ".join(names),
        deadline=site.flavour in (Flavour.ASYNC, Flavour.ASYNC_BLOCK) and site.has("timeout"), clocks=_clocks(site),
        fallback=site.fall_back is not None, retry=retry is not None,
        failover="first" if site.is_first_target else "target" if site.has("failover") else "",
        retry_results=retry is not None and retry.on_result is not None,
        marks=retry is not None and (site.flavour in (Flavour.ASYNC, Flavour.THREAD) or site.leaves_thread()),
        holds=site.flavour.is_generator and retry is not None and most_held(retry) > 0,
        judges="results inline" if _written_out and site.judges == "results" else site.judges,
        returns_failures=bool(site.judges) and not site.layers and not site.is_beneath_layers)


def _clocks(site: Site) -> str:
    """How the text tells the clocks of a stream of each item; see WrapperSpec."""
    if site.flavour is Flavour.ASYNC_GENERATOR and (site.has("timeout") or site.has("stream_timeout")):
        return "inline" if _written_out else "plain"
    return "plain" if site.flavour is Flavour.GENERATOR and site.has("stream_timeout") else ""


@functools.cache
def _text(spec: WrapperSpec) -> CompiledText:
    label = [spec.label, *(["results"] if spec.retry_results else []), *(["holds"] if spec.holds else []),
             *(["marks"] if spec.marks and spec.flavour is Flavour.SYNC else []),
             *([spec.judges] if spec.judges else []),
             *(["raised"] if spec.judges and not spec.returns_failures else []),
             *([spec.failover] if spec.failover else [])]
    return CompiledText(source(spec), " ".join(label))
