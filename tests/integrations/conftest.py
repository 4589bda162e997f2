"""The libraries themselves, told the time by the test's clock."""

import datetime

import circuitbreaker
import pybreaker
import pytest


@pytest.fixture
def their_pybreaker(clock, monkeypatch):
    """pybreaker, whose wall clock is the manual one."""

    class Now(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(clock(), tz)

    monkeypatch.setattr(pybreaker, "datetime", Now)
    return pybreaker


@pytest.fixture
def their_circuitbreaker(clock, monkeypatch):
    """circuitbreaker, whose clock is the manual one, and whose monitor is empty."""
    monkeypatch.setattr(circuitbreaker, "monotonic", clock)
    monkeypatch.setattr(circuitbreaker.CircuitBreakerMonitor, "circuit_breakers", {})
    return circuitbreaker
