"""Why a circuit opened, in words."""

import pytest

from resilience.core.events import Trigger
from resilience.core.reasons import FAILED, WORDS, verdict


@pytest.mark.parametrize(("trigger", "weighed", "words"), [
    (Trigger.FAILURE_RATE, (8, 5, 2, 3.0), "5 of 8 calls failed"), (Trigger.FAILURE_RATE, (1, 1, 0, 0.0), "1 call failed"),
    (Trigger.SLOW_RATE, (8, 5, 2, 3.0), "2 of 8 calls were slow"), (Trigger.SLOW_RATE, (1, 0, 1, 0.0), "1 call was slow"),
    (Trigger.CONSECUTIVE, (3, 3, 0, 3.0), "3 calls in a row failed"), (Trigger.CONSECUTIVE, (1, 1, 0, 0.0), "1 call failed"),
    (Trigger.SUSTAINED_FAILURES, (7, 7, 0, 12.6), "7 calls in a row failed, over 13 s"),
    (Trigger.RESTORED, None, "it was open before the process was started anew"),
    (Trigger.FAILURE_RATE, None, "it was opened by hand")])
def test_the_words_for_what_opened_a_circuit(trigger, weighed, words):
    assert words == verdict(trigger, weighed)


def test_each_trigger_is_said_in_words_or_with_the_numbers_that_were_weighed():
    assert {*Trigger} == {*WORDS, *FAILED, Trigger.SLOW_RATE, Trigger.PROBE_FAILED}
