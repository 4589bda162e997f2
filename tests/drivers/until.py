"""Waiting for what other threads do, without guessing how long they take."""

import time


def until(condition, seconds=60.0):
    """Poll *condition* until it is true; fail after *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.0005)
