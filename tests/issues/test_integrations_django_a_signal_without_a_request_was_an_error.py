"""Some send Django's signal of an exception for jobs that have no request, so that whoever reports errors hears of them. What
notes refusals raised an error of its own then, in the place of the exception.
"""

import pytest
from django.core.signals import got_request_exception

import resilience.integrations.django
from resilience import CircuitOpenError

assert resilience.integrations.django.RefusalMiddleware  # with the import, the signal is heard


@pytest.mark.parametrize("said", [{}, {"request": None}, {"request": {"path": "/"}}])
def test_a_signal_without_a_request_of_django_says_nothing(said):
    try:
        raise CircuitOpenError("shop")
    except CircuitOpenError:
        got_request_exception.send(sender=None, **said)
