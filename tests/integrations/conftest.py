"""The libraries themselves, told the time by the test's clock."""

import datetime
import weakref

import circuitbreaker
import pybreaker
import pytest

from resilience.integrations.circuitbreaker import CircuitBreakerMonitor


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
    """circuitbreaker, whose clock is the manual one; both monitors are empty."""
    monkeypatch.setattr(circuitbreaker, "monotonic", clock)
    monkeypatch.setattr(CircuitBreakerMonitor, "circuit_breakers", weakref.WeakValueDictionary())
    monkeypatch.setattr(circuitbreaker.CircuitBreakerMonitor, "circuit_breakers", {})
    return circuitbreaker
