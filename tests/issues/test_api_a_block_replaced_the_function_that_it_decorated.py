"""A block that was used as a decorator took the function for an argument of a call, and replaced it by that call."""

import pytest

from resilience import Registry, block


def test_a_block_refuses_to_decorate_a_function():
    payments = block("payments", registry=Registry())
    with pytest.raises(TypeError, match="<block 'payments'> is for with statements.*decorate pay with @command"):
        @payments
        def pay():
            pass


def test_what_policies_look_at_is_taken_as_before():
    payments = block("payments", registry=Registry())
    with payments("a customer", amount=3) as call:
        call.result = 1
    assert 1 == payments.resilience.snapshot().counts["success"]
