"""HTTP status rules: what codes mean, and where libraries keep them."""

import enum
import http
import random

import pytest

from resilience import ConfigError, FailureRules, HttpStatus, Verdict, http_status
from resilience.core.failure_rules import status_rule
from resilience.core.http_status import GRPC, codes_of, is_called_status, is_code, judge_of, status_of, verdicts_of
from tests.seeds import over_seeds


@over_seeds(50)
def test_codes_are_those_of_a_plain_oracle(seed):
    rng, words, wanted = random.Random(seed), [], set()
    for _ in range(rng.randrange(4)):
        code = rng.randrange(100, 600)
        kind = rng.choice(("number", "text", "class", "range"))
        if kind == "class":
            words.append(f"{code // 100}{rng.choice(('xx', 'XX'))}")
            wanted |= {each for each in range(100, 600) if each // 100 == code // 100}
        elif kind == "range":
            end = rng.randrange(code, 600)
            words.append(f"{code}-{end}")
            wanted |= set(range(code, end + 1))
        else:
            words.append(code if kind == "number" else str(code))
            wanted.add(code)
    assert wanted == codes_of("failed", tuple(words))


@pytest.mark.parametrize("wrong", [99, 600, True, "6xx", "5x", "504-500", "", None, 5.0, "five"])
def test_what_is_no_code_is_refused_with_what_is(wrong):
    with pytest.raises(ConfigError, match=r'failed must be status codes such as 503, "5xx" or "500-504", not'):
        http_status(failed=(wrong,))


def test_the_special_word_beats_the_general_one():
    verdicts = verdicts_of(http_status(failed=("5xx", 429, "430-440"), busy=("4xx", 435), caller_fault=(404, 501)))
    assert {429: Verdict.FAILED, 404: Verdict.CALLER_FAULT, 403: Verdict.BUSY, 500: Verdict.FAILED,
            501: Verdict.CALLER_FAULT, 434: Verdict.FAILED, 435: Verdict.BUSY} == {
        code: verdicts[code] for code in (429, 404, 403, 500, 501, 434, 435)}
    assert 200 not in verdicts


@pytest.mark.parametrize(("said", "code", "verdict"), [
    ({"failed": 429}, 429, Verdict.FAILED), ({"failed": "429"}, 429, Verdict.FAILED),
    ({"caller_fault": 429}, 429, Verdict.CALLER_FAULT), ({"busy": "5xx"}, 502, Verdict.BUSY),
    ({"caller_fault": "5xx"}, 502, Verdict.CALLER_FAULT), ({"failed": 503, "busy": 503}, 503, Verdict.BUSY),
    ({"busy": 503, "caller_fault": 503}, 503, Verdict.CALLER_FAULT)])
def test_of_two_words_that_are_as_special_the_one_that_somebody_wrote_counts(said, code, verdict):
    assert verdict is verdicts_of(http_status(**said))[code]


def test_codes_among_busy_and_caller_faults_add_to_the_rule():
    rules = FailureRules(status="5xx", busy=(408,), caller_faults=("404", KeyError))
    verdicts = verdicts_of(status_rule(rules))
    assert (Verdict.BUSY, Verdict.BUSY, Verdict.CALLER_FAULT) == tuple(verdicts[code] for code in (408, 429, 404))
    assert status_rule(FailureRules()) is None
    assert {404: Verdict.CALLER_FAULT} == {code: verdict for code, verdict in
                                           verdicts_of(status_rule(FailureRules(caller_faults=404))).items() if code == 404}


class Has:
    def __init__(self, **attributes):
        vars(self).update(attributes)


class Code(enum.Enum):
    RESOURCE_EXHAUSTED = (8, "resource exhausted")


@pytest.mark.parametrize(("what", "status"), [
    (Has(status_code=503), 503), (Has(status=503), 503), (Has(response=Has(status_code=404)), 404),
    (Has(response=Has(status=404)), 404), (Has(response={"ResponseMetadata": {"HTTPStatusCode": 503}}), 503),
    ({"ResponseMetadata": {"HTTPStatusCode": 200}}, 200), (Has(code=lambda: Code.RESOURCE_EXHAUSTED), 429),
    (Has(code=404), 404), (Has(status_code=http.HTTPStatus.NOT_FOUND), 404), (Has(status="200 OK"), None),
    (Has(status_code=True), None), (Has(status_code=99), None), (Has(code="busy"), None), (Has(code=lambda: 1 / 0), None),
    (None, None), ("200", None), ({}, None), (Has(response={"ResponseMetadata": None}), None)])
def test_where_a_status_is_found(what, status):
    assert status == status_of(what)


def test_the_codes_of_grpc_have_the_numbers_of_googles_table():
    assert {"OK": 200, "CANCELLED": 499, "UNKNOWN": 500, "INVALID_ARGUMENT": 400, "DEADLINE_EXCEEDED": 504, "NOT_FOUND": 404,
            "ALREADY_EXISTS": 409, "PERMISSION_DENIED": 403, "UNAUTHENTICATED": 401, "RESOURCE_EXHAUSTED": 429,
            "FAILED_PRECONDITION": 400, "ABORTED": 409, "OUT_OF_RANGE": 400, "UNIMPLEMENTED": 501, "INTERNAL": 500,
            "UNAVAILABLE": 503, "DATA_LOSS": 500} == GRPC


def test_a_rule_is_a_value():
    assert http_status() == HttpStatus()
    assert hash(http_status(failed=500)) == hash(HttpStatus((500,)))
    assert "FailureRules" in repr(FailureRules(status=http_status()))


@pytest.mark.parametrize("what", [Has(status_code=100), Has(status_code=599), Has(status=100), Has(status=599)])
def test_the_first_and_the_last_code_are_codes(what):
    assert (vars(what).get("status_code") or what.status) == status_of(what)


@pytest.mark.parametrize("what", [Has(status_code=600), Has(status=600), Has(code=99)])
def test_what_lies_beyond_them_is_none(what):
    assert status_of(what) is None


@pytest.mark.parametrize(("what", "is_called"), [
    (Has(status=200), True), (Has(status_code=200), False), (Has(status=200, status_code=200), False),
    (Has(status=200, status_code="200"), True), (Has(status="open", status_code=200), False), (Has(status="open"), False),
    (Has(), False), (None, False)])
def test_which_attribute_holds_the_status_of_an_answer(what, is_called):
    assert is_called is is_called_status(what)


@pytest.mark.parametrize(("status", "asked", "verdict"), [
    (503, True, Verdict.BUSY), (503, False, Verdict.FAILED), (500, True, Verdict.FAILED), (429, True, Verdict.BUSY), (429, False, Verdict.BUSY),
    (404, True, Verdict.CALLER_FAULT), (504, True, Verdict.CALLER_FAULT)])
def test_a_code_that_is_busy_when_asked_is_so_if_the_answer_says_retry_after_and_it_would_count_as_failed(status, asked, verdict):
    rule = http_status(caller_fault=(404, 504), busy_when_asked=(503, 504))
    answer = Has(status=status, headers={"retry-after": "2"} if asked else {})
    assert verdict is judge_of(rule)(answer, status, verdicts_of(rule))


def test_codes_come_in_any_iterable_and_a_range_may_be_one_code_long():
    rule = http_status(failed=(each for each in [500, "502-502"]), busy=[429])
    assert ((500, "502-502"), (429,)) == (rule.failed, rule.busy)
    assert {500, 502} == codes_of("failed", rule.failed)
    with pytest.raises(ConfigError, match="failed must be status codes"):
        http_status(failed=5.0)


@pytest.mark.parametrize(("value", "is_meant"), [(503, True), ("503", True), ("5xx", True), ("5", True), ("KeyError", False), ("", False), ("K5", False), (None, False)])
def test_what_is_meant_as_a_status_code(value, is_meant):
    assert is_meant is is_code(value)
