"""``configure`` took what a decorator refuses, and then nothing came of it.

A queue of an adaptive limit for calls on threads, priorities, ``on_result`` of a retry that was declared without, a wrong
result for a generator, tenants of a bulkhead in which nobody waits: the handle showed such a setting as one that is in
force. What a decorator refuses for a function, ``configure`` refuses for its command.
"""

import attrs
import pytest

from resilience import AdaptiveLimit, Bulkhead, Chaos, ConfigError, FailureRules, Registry, Retry, command


def plain(x=0):
    return x


def generator(x=0):
    yield x


@pytest.mark.parametrize(("function", "declared", "change", "word"), [
    (plain, {"timeout": 1.0, "adaptive_limit": AdaptiveLimit()}, {"adaptive_limit": AdaptiveLimit(max_queue=3)},
     "max_queue of an adaptive limit is for calls that run where their caller is"),
    (plain, {"isolation": "thread", "adaptive_limit": AdaptiveLimit()},
     {"adaptive_limit": AdaptiveLimit(priorities=plain)}, "priorities of an adaptive limit is for calls"),
    (plain, {"timeout": None, "adaptive_limit": AdaptiveLimit()}, {"adaptive_limit": AdaptiveLimit(priorities=plain)},
     "priorities= of the adaptive limit cannot be changed"),
    (plain, {"timeout": None}, {"max_concurrent": Bulkhead(3, fair_by=plain)}, "without max_wait none waits"),
    (plain, {"timeout": None, "retry": Retry()}, {"retry": Retry(on_result=plain)}, "decorated without on_result"),
    (generator, {"timeout": None, "retry": Retry()}, {"retry": Retry(on_result=plain)}, "on_result"),
    (generator, {"timeout": None, "chaos": Chaos()}, {"chaos": Chaos(result=plain)}, "no result to spoil"),
    (plain, {"timeout": None, "breaker": None, "failures": FailureRules()}, {"failures": FailureRules(halts=True)},
     "breaker=None says that there is none"),
])
def test_what_would_have_no_effect_is_refused_and_changes_nothing(function, declared, change, word):
    guarded = command(key="k", registry=Registry(), **declared)(function)
    before = guarded.resilience.settings
    with pytest.raises(ConfigError, match=word):
        guarded.resilience.configure(**change)
    assert before == guarded.resilience.settings


def test_functions_that_share_a_command_are_all_asked():
    registry = Registry()
    limit = AdaptiveLimit(max_limit=20)
    here = command(key="k", registry=registry, timeout=None, adaptive_limit=limit)(plain)
    there = command(key="k", registry=registry, timeout=None, isolation="thread", adaptive_limit=limit)(lambda: 1)
    with pytest.raises(ConfigError, match="max_queue"):
        here.resilience.configure(adaptive_limit=attrs.evolve(limit, max_queue=5))
    del there
    here.resilience.configure(adaptive_limit=attrs.evolve(limit, max_queue=5))
    assert here.resilience.settings.adaptive_limit.max_queue == 5


def test_what_has_an_effect_is_taken():
    asked = []
    limit = AdaptiveLimit(priorities=lambda x=0: asked.append(x) or 0)
    guarded = command(key="k", registry=Registry(), timeout=None, adaptive_limit=limit,
                      retry=Retry(attempts=3, base=0, on_result=lambda x: False))(plain)
    guarded.resilience.configure(adaptive_limit=attrs.evolve(limit, max_queue=5), retry=Retry(
        attempts=3, base=0, on_result=lambda x: asked.append("judged") or True))
    assert guarded(1) == 1
    assert asked == [1, "judged", 1, "judged", 1, "judged"]
