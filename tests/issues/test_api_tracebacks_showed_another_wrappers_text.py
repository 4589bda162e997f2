"""Wrappers with and without a bulkhead had one file name, so a traceback showed lines of whichever came first."""

import itertools
import linecache

from resilience import Failover, Fallback
from resilience.engine.compiler import plain_way, spec_of
from resilience.engine.site import Site
from resilience.engine.wrapper_spec import Flavour
from resilience.policies.order import KITS
from tests.testing.test_frozen_clock import EVERYTHING

VALUES = {**EVERYTHING, "failover": Failover(("eu", "us"))}


def specs():
    policies = {kit: kit.meant(VALUES[kit.name]) if kit.setting else Fallback(print) for kit in KITS
                if kit.name != "max_concurrent"}
    for flavour, *chosen in itertools.product(Flavour, *[(False, True)] * len(policies)):
        chain = {kit: policies[kit] for kit, wanted in zip(policies, chosen, strict=True) if wanted}
        site = Site(fn=print, flavour=flavour, chain=chain, runtime=None, accounting=None, fall_back=None)
        yield spec_of(site)


def test_every_text_is_kept_under_a_name_of_its_own():
    with plain_way():
        plain = {(spec.label, spec.retry_results): spec for spec in specs()}
    written_out = {(spec.label, spec.retry_results): spec for spec in specs()}

    assert not plain.keys() & written_out.keys()
    assert len(written_out) == len(plain) == len(Flavour) * 2 ** (len(KITS) - 1)


def test_a_traceback_shows_the_text_of_its_own_wrapper():
    from resilience import Bulkhead, CircuitBreaker, Pipeline, Registry

    registry = Registry()
    waiting = Bulkhead(3, max_wait=1.0)
    for policies in ([CircuitBreaker()], [CircuitBreaker(), Bulkhead(3)], [Bulkhead(3)], [waiting]):
        wrapper = Pipeline(*policies, registry=registry, key=str(policies))(lambda: 1)
        lines = "".join(linecache.getlines(wrapper.__code__.co_filename))
        assert ("slots.tokens" in lines) is (Bulkhead(3) in policies)
        assert ("queue(taken" in lines) is (waiting in policies)
        assert ("circuit.term" in lines) is (CircuitBreaker() in policies)
