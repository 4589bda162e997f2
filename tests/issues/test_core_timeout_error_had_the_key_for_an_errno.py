"""OSError, a base of TimeoutError, read our two arguments as errno and strerror."""

from resilience.errors import CallTimeoutError


def test_a_call_timeout_has_no_errno():
    error = CallTimeoutError("inventory", 0.5)

    assert error.errno is None
    assert error.strerror is None
    assert ("inventory", 0.5) == error.args
