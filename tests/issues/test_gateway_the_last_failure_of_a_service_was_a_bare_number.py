"""The last failure of a service that answers with status 500 was "500", on the dashboard and in the log, and that of gRPC too.

It is told in words, the same ones as in the log of the endpoints.
"""

from __future__ import annotations

import pytest

from resilience import Registry, command
from resilience.gateway.messages.exchange import RuledAnswerError, UpstreamError, UpstreamStatusError
from resilience.gateway.messages.grpc_status import GrpcStatusError
from resilience.gateway.services.trouble import trouble_of


@pytest.mark.parametrize(("error", "words"), [
    (UpstreamStatusError(500), "HTTP status 500"),
    (GrpcStatusError("UNAVAILABLE", ()), "gRPC status UNAVAILABLE"),
    (RuledAnswerError(UpstreamStatusError(200)), "HTTP status 200 with what a rule of the service calls a failure"),
])
def test_a_status_that_fails_is_told_in_words(error: UpstreamError, words: str) -> None:
    @command(registry=Registry(), timeout=None)
    def ask() -> None:
        raise error

    with pytest.raises(UpstreamError):
        ask()
    failure = ask.resilience.snapshot().last_failure
    assert failure is not None
    assert words == failure.message == trouble_of(error)
