"""From a text to a function: the names that it wants, what they are bound to, and what tracebacks call it."""

import linecache

import pytest

from resilience import (
    Cache,
    CircuitBreaker,
    FailureRules,
    Fallback,
    NoTimeLeftError,
    Pipeline,
    Retry,
    Timeout,
    deadline,
)
from resilience.engine import compiled_text, compiler
from resilience.engine.compiled_text import CompiledText
from resilience.engine.compiler import plain_way

TEXT = """\
def guarded(*args):
    twice = a + b
    return len(args) + twice
"""


def test_a_text_wants_what_it_uses_and_neither_sets_nor_python_has():
    assert ("a", "b") == CompiledText(TEXT, "of this test").wanted


def test_what_stands_in_every_wrappers_globals_is_not_wanted():
    name = next(name for name in compiled_text.wrapper_globals if name.isidentifier() and not name.startswith("_"))

    assert () == CompiledText(f"def guarded():\n    return {name}\n", "of this test").wanted


def test_a_function_is_bound_to_what_its_text_wants_and_shown_by_tracebacks():
    guarded = CompiledText(TEXT, "of this test").bind({"a": 1, "b": 2, "c": 3})

    assert (5, "<resilience of this test>") == (guarded("x", "y"), guarded.__code__.co_filename)
    assert ["def make(a, b):", "    def guarded(*args):"] == [
        line.rstrip() for line in linecache.getlines("<resilience of this test>")[:2]]


@pytest.mark.parametrize(("names", "words"), [
    ({"a": 1}, "the text of a wrapper uses b, which no kit binds"),
    ({"a": 1, "b": 2, "twice": 3}, "the text of a wrapper has variables called twice, which a kit binds")])
def test_a_name_that_nobody_binds_or_that_a_variable_hides_is_an_error(names, words):
    with pytest.raises(LookupError, match=words):
        CompiledText(TEXT, "of this test").bind(names)


@pytest.mark.written_out
@pytest.mark.parametrize(("policies", "file"), [
    ((CircuitBreaker(),), "<resilience sync breaker>"), ((Retry(),), "<resilience sync retry>"),
    ((Retry(on_result=bool),), "<resilience sync retry results>"), ((), "<resilience sync>")])
def test_the_file_of_a_wrapper_is_called_after_its_policies(registry, policies, file):
    @Pipeline(*policies, key="k", registry=registry)
    def call():
        """A function."""

    assert file == call.__code__.co_filename


def plain():
    """A function."""


async def awaited():
    """A coroutine function."""


def items():
    """A generator function."""
    yield


@pytest.mark.written_out
@pytest.mark.parametrize(("function", "policies", "label"), [
    (items, (Retry(hold=1),), "generator retry holds"), (items, (Retry(),), "generator retry"),
    (awaited, (Retry(),), "async retry"),
    (plain, (Retry(), FailureRules(status=503)), "sync retry failures results inline"),
    (plain, (Cache(), FailureRules(status=503)), "sync cache failures results inline raised"),
    (plain, (Cache(), CircuitBreaker()), "sync cache breaker"),
    (plain, (Cache(stale_if_error=1.0), CircuitBreaker()), "sync cache breaker stale"),
    (plain, (Fallback(plain), Cache(stale_if_error=1.0)), "sync fallback cache")])
def test_two_texts_of_the_same_policies_have_names_of_their_own(monkeypatch, registry, function, policies, label):
    labels = []
    monkeypatch.setattr(compiler, "CompiledText", lambda text, label: labels.append(label) or CompiledText(text, label))
    monkeypatch.setattr(compiler, "_text", compiler._text.__wrapped__)
    Pipeline(*policies, key="k", registry=registry)(function)
    assert [label] == labels


@pytest.mark.written_out
def test_a_wrapper_is_compiled_the_plain_way_within_the_block_alone(registry):
    def named(key):
        return Pipeline(CircuitBreaker(), key=key, registry=registry)(lambda: 1).__code__.co_filename

    with plain_way():
        assert "<resilience sync plain breaker>" == named("a")
        with plain_way():
            assert "<resilience sync plain breaker>" == named("b")
        assert "<resilience sync plain breaker>" == named("c")
    assert "<resilience sync breaker>" == named("d")


def test_a_timeout_is_a_matter_of_the_event_loop_for_what_is_awaited_only(registry):
    pipeline = Pipeline(Timeout(1.0), registry=registry)
    code = [pipeline(fn).__code__ for fn in (awaited, plain)]

    assert [True, False] == ["enter" in each.co_freevars for each in code]


@pytest.mark.parametrize(("above", "outcome"), [((), "refused"), ((Fallback(lambda: "answer"),), "answer")])
def test_a_call_whose_deadline_has_passed_is_counted_once_whoever_answers_it(registry, clock, above, outcome):
    @Pipeline(*above, CircuitBreaker(), key="k", registry=registry)
    def call():
        """A function."""

    with deadline(5.0, clock=clock):
        clock.advance(6.0)
        try:
            found = call()
        except NoTimeLeftError:
            found = "refused"

    counts = call.resilience.snapshot().counts
    assert (outcome, 1, 1) == (found, counts["no_time_left"], counts["exceptions_thrown"] + counts["fallback_success"])
