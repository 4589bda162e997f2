"""Names of settings that do not exist were answered without the name that was meant, or with another decorator's.

``http_status(bsy=1)`` raised Python's own TypeError, ``block(time_out=3)`` spoke of ``command``, and ``collapse(max_sise=3)``
listed all names.
"""

import inspect

import pytest

from resilience import ConfigError, Registry, block, bulkhead, circuit_breaker, collapse, command, http_status
from resilience.core.http_status import HttpStatus


@pytest.mark.parametrize(("call", "words"), [
    (lambda: http_status(bsy=429), "http_status has no setting 'bsy'; did you mean busy?"),
    (lambda: block("b", time_out=3), "block has no setting 'time_out'; did you mean timeout?"),
    (lambda: block("b", failure_rate=0.2), r"block has no setting 'failure_rate'; did you mean breaker=CircuitBreaker\(failure_rate=0.2\)?"),
    (lambda: collapse(max_sise=3), "@collapse has no setting 'max_sise'; did you mean max_batch?"),
    (lambda: collapse(size=3), "@collapse has no setting 'size'; it has key, max_batch, scope, window"),
])
def test_a_misspelt_name_is_told_with_who_lacks_it_and_the_near_one(call, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        call()


def test_http_status_shows_and_takes_what_it_did():
    assert list(inspect.signature(http_status).parameters) == ["failed", "busy", "busy_when_asked", "caller_fault"]
    assert HttpStatus(("5xx",), (429,)) == http_status("5xx", busy=429)


def test_two_decorators_that_say_two_keys_are_told_with_the_function():
    line = inspect.currentframe().f_lineno + 2

    def fetch(): ...

    for options in ({"key": "k"}, {"isolation": "thread"}):
        other = {"key": "k2"} if "key" in options else {"isolation": "semaphore"}
        with pytest.raises(ConfigError) as caught:
            circuit_breaker(registry=Registry(), **other)(bulkhead(2, **options)(fetch))
        ((name, inner), (_, outer)) = *options.items(), *other.items()
        assert (f"{name}: one stack has both {outer!r} and {inner!r}, that of {__name__}.{fetch.__qualname__} "
                f"(test_api_a_misspelt_name_was_told_without_the_near_one.py:{line}); let one of its decorators say it") == str(caught.value)


def test_what_cannot_be_configured_is_told_with_what_to_do():
    @command(key="k", registry=Registry(), timeout=None)
    def fetch(): ...

    with pytest.raises(ConfigError, match=r"^k has no retry to configure; decorate it with retry=\.\.\.$"):
        fetch.resilience.configure(retry=None)
