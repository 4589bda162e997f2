"""What a snapshot works out from its counts."""

import copy
import pickle

import attrs
import pytest

from resilience.core.events import State
from resilience.core.histogram import EMPTY
from resilience.core.outcome import EVENT_NAMES
from resilience.metrics.snapshot import Snapshot


def snapshot(**counts):
    return Snapshot(
        key="k", group="g", at=1.0, state=State.CLOSED, retry_after=None, counts=dict.fromkeys(EVENT_NAMES, 0) | counts,
        window=10.0, latency=EMPTY, latency_window=60.0, in_flight=0, max_in_flight=0, max_concurrent=None, abandoned=0)


def test_refusals_are_requests_and_errors():
    shot = snapshot(success=4, failure=1, timeout=1, short_circuited=2, semaphore_rejected=1, thread_pool_rejected=1)

    assert 4 == shot.refused
    assert 6 == shot.errors
    assert 10 == shot.requests
    assert 0.6 == shot.error_rate
    assert 1.0 == shot.rate


def test_cancellations_bad_requests_and_fallbacks_are_neither():
    shot = snapshot(success=1, cancelled=5, bad_request=5, fallback_success=5, fallback_failure=5, exceptions_thrown=5,
                    emit=5, responses_from_cache=5)

    assert (1, 0, 0.0) == (shot.requests, shot.errors, shot.error_rate)


def test_without_requests_the_error_rate_is_zero():
    assert 0.0 == snapshot().error_rate


def test_error_rate_is_not_rounded():
    """Hystrix truncates it to whole per cent: 1 of 300 reads 0."""
    assert 1 / 300 == snapshot(success=299, failure=1).error_rate


def test_a_snapshot_is_frozen_and_can_be_sent_elsewhere():
    shot = snapshot(success=3)

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        shot.key = "other"
    assert shot == pickle.loads(pickle.dumps(shot)) == copy.deepcopy(shot)
