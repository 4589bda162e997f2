"""A status code named as the caller's fault was a failure all the same, and opened the circuit, if "5xx" is failed.

The rule for statuses promises that the more special word counts, and failure rules that ``caller_faults`` and ``busy``
are asked before ``status``. Both held for single codes that are failed only.
"""

import pytest

from resilience import FailureRules, Registry, command, http_status


class Answer:
    def __init__(self, status_code):
        self.status_code = status_code


class StatusError(Exception):
    def __init__(self, status_code):
        super().__init__(status_code)
        self.status_code = status_code


RULES = {
    "a rule for statuses": lambda: http_status(caller_fault=501),
    "codes among the caller's faults": lambda: FailureRules(status="5xx", caller_faults=(501,)),
}


@pytest.mark.parametrize("rules", RULES)
def test_a_code_that_is_the_callers_fault_counts_so_in_results_and_in_exceptions(rules):
    registry = Registry()

    @command(key="k", registry=registry, timeout=None, failures=RULES[rules]())
    def ask(result):
        if isinstance(result, Exception):
            raise result
        return result

    for _ in range(20):
        ask(Answer(501))
        with pytest.raises(StatusError):
            ask(StatusError(501))

    counts = ask.resilience.snapshot().counts
    assert (40, 0) == (counts["bad_request"], counts["failure"])
    assert "closed" == ask.resilience.state
