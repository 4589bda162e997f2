"""The tables about other libraries say what the code says."""

import importlib
import inspect
import re

import pytest
from pages import rows, section

import resilience
from resilience.core.http_problem import http_problem
from resilience.integrations import asgi, opentelemetry, structlog, wsgi
from resilience.testing import ManualClock

WEB, EXPORTS = "howto/guard-a-web-application.md", "howto/export-to-opentelemetry.md"


@pytest.mark.parametrize("module", [asgi, wsgi])
def test_the_settings_of_the_middleware_are_in_their_table(module):
    parameters = list(inspect.signature(module.ResilienceMiddleware).parameters.values())[1:]
    defaults = {each.name: "default_registry" if each.default is resilience.default_registry else repr(each.default) for each in parameters}
    assert defaults == {row[0]: row[1] for row in rows(section(WEB, "## Settings"))}


def test_the_statuses_of_refusals_are_in_their_table():
    table = rows(section(WEB, "## What the client gets"))
    assert {"RateLimitedError", "CircuitOpenError", "BulkheadFullError", "ThrottledError", "NoTimeLeftError",
            "CallTimeoutError", "DeadlineExceededError"} <= {name for name, *_ in table}
    for name, status, retry_after in table:
        kind = getattr(resilience, name)
        asks = issubclass(kind, resilience.RejectedError)
        problem = http_problem(kind("k", 2.5))
        assert (problem.status, problem.retry_after_s) == (int(status), 3 if asks else None), name
        assert retry_after == ("no" if status == "504" else "if it is known")


def test_the_instruments_are_in_their_table():
    assert [(each.name, each.kind, each.unit) for each in (*opentelemetry._COMMAND, *opentelemetry._POOL)] == [
        tuple(row[:3]) for row in rows(section(EXPORTS, "## OpenTelemetry metrics"))]


def test_the_span_events_are_in_their_table():
    assert [name for name, _ in opentelemetry._SPAN_EVENTS.values()] == [row[0] for row in rows(section(EXPORTS, "## Span events"))]


def test_the_lines_of_structlog_are_in_their_table():
    table = {row[0]: row[1] for row in rows(section(EXPORTS, "## structlog"))}
    assert {row[0] for row in (*structlog._CHANGES.values(), *structlog._CALLS.values())} == set(table)
    assert {name: level for name, level, _ in structlog._CALLS.values()}.items() <= table.items()


_CODE = re.compile("\0([^\0]+)\0")  # in a cell of a raw section


def ours():
    """What the right-hand columns speak of."""
    registry = resilience.Registry(clock=ManualClock())
    fn = resilience.command(key="stock", registry=registry, timeout=None)(lambda sku=None: sku)
    return {**vars(resilience), "registry": registry, "fn": lambda: 7, "handle": fn.resilience, "listener": print,
            "handler": lambda: 0, "is_none": lambda x: x is None, "host_of": lambda *args: "host", "breaker": resilience.CircuitBreaker()}


@pytest.mark.parametrize("page", ["nopanic", "fluxgate", "interlock", "resilience4j", "polly"])
def test_what_a_table_of_terms_says_of_this_library_can_be_written_so(page):
    table = rows(raw_section(f"howto/coming-from-{page}.md", "## Idioms"))
    for row in table:
        namespace = ours()
        for code in _CODE.findall(row[1]):
            if not re.fullmatch(r"[a-z_]+=?", code):  # a setting, or the name of a logger
                eval(code, namespace)
    assert len(table) > 10


@pytest.mark.parametrize("page", ["nopanic", "fluxgate", "interlock"])
def test_what_a_table_of_terms_says_of_the_other_library_can_be_written_so(page):
    theirs = importlib.import_module(page)
    namespace = {**vars(theirs), "listener": print, "handler": print, "is_none": lambda x: x is None, "host_of": hash,
                 "fn": lambda: 7}
    if page == "fluxgate":
        from fluxgate import permits, retries, trackers, trippers, windows

        for module in (permits, retries, trackers, trippers, windows):
            namespace |= vars(module)
        namespace["cb"] = theirs.CircuitBreaker()
    elif page == "interlock":
        namespace["cb"] = theirs.CircuitBreaker(name="stock")
    elif page == "nopanic":
        namespace["new_breaker"] = lambda key: theirs.circuit_breaker()
    for row in rows(raw_section(f"howto/coming-from-{page}.md", "## Idioms")):
        for code in _CODE.findall(row[0]):
            eval(code, namespace)


def raw_section(page, heading):
    """A section whose code is marked, for rows() drops backticks."""
    return section(page, heading).replace("`", "\0")
