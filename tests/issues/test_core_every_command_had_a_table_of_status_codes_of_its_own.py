"""A command with rules for status codes took 33 kB, of which 25 were the codes: each endpoint of a gateway has such a command."""

from __future__ import annotations

from resilience import HttpStatus
from resilience.core.failure_rules import FailureRules
from resilience.engine.failure_judge import FailureJudge


def judging(statuses: HttpStatus) -> FailureJudge:
    return FailureJudge(FailureRules(status=statuses), key="any")


def test_commands_with_the_same_codes_share_their_table_and_others_do_not() -> None:
    one, same, other = judging(HttpStatus()), judging(HttpStatus()), judging(HttpStatus(failed=("404",)))
    assert one.good_codes is same.good_codes
    assert one._status is same._status
    assert (404 in one.good_codes, 404 in other.good_codes) == (True, False)
    other.configure(one.rules)
    assert other.good_codes is one.good_codes
