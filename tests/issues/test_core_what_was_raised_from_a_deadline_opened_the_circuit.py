"""An exception of the user's that was raised from a DeadlineExceededError counted as a failure of the outer command.

Clients do so: what their transport says becomes an APIConnectionError, raised from it. So callers in a hurry opened the
circuit of a target that was well, as they had through a TaskGroup.
"""

import pytest

from resilience import CircuitBreaker, DeadlineExceededError, FailureRules, NoTimeLeftError, Registry, command, deadline
from tests.issues.every_flavour import FLAVOURS, guarded, isolation


class ApiError(Exception):
    pass


def raised_from(*causes):
    """An ApiError that was raised from the first of *causes*, which was raised from the second, and so on."""
    error = ApiError()
    error.__cause__ = causes[0]
    for cause, further in zip(causes, causes[1:], strict=False):
        cause.__cause__ = further
    return error


def circle():
    error = ApiError()
    error.__cause__ = other = ApiError()
    other.__cause__ = error
    return error


CASES = {
    "from the deadline": (lambda: raised_from(DeadlineExceededError("inner", 0.1, 0.1)), "timeout"),
    "from one that had no time": (lambda: raised_from(OSError(), NoTimeLeftError("inner")), "timeout"),
    "from a group": (lambda: raised_from(ExceptionGroup("g", [NoTimeLeftError("inner")])), "timeout"),
    "in a group": (lambda: ExceptionGroup("g", [raised_from(NoTimeLeftError("inner"))]), "timeout"),
    "from a group of more": (lambda: raised_from(ExceptionGroup("g", [NoTimeLeftError("i"), OSError()])), "failure"),
    "beside a failure": (lambda: ExceptionGroup("g", [raised_from(NoTimeLeftError("i")), OSError()]), "failure"),
    "in a circle": (circle, "failure"),
    "from something else": (lambda: raised_from(OSError()), "failure"),
}


@pytest.mark.parametrize("rules", [None, FailureRules(exceptions=Exception)], ids=["no rules", "rules"])
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("case", CASES)
def test_it_counts_as_cut_short_if_the_callers_deadline_has_passed(case, flavour, rules):
    make, counted = CASES[case]
    ends = deadline(3600.0)

    def body():
        if ends._end is not None:
            ends._end.at -= 3600.0  # time passes
        raise make()

    run, call = guarded(flavour, command(key="outer", registry=Registry(), timeout=None, failures=rules,
                                         breaker=CircuitBreaker(min_calls=1), **isolation(flavour)), body)
    with pytest.raises((ApiError, ExceptionGroup)), ends:
        call()
    counts = run.resilience.snapshot().counts
    assert 1 == counts[counted]
    assert run.resilience.state == ("open" if counted == "failure" else "closed")


def test_without_a_deadline_that_has_passed_it_is_a_failure():
    @command(key="outer", registry=Registry(), timeout=None)
    def outer():
        raise raised_from(NoTimeLeftError("inner"))

    with pytest.raises(ApiError), deadline(3600.0):
        outer()
    with pytest.raises(ApiError):
        outer()
    assert outer.resilience.snapshot().counts["failure"] == 2
