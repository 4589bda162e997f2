"""How long a gRPC server asks its clients to wait stands in ``grpc-retry-pushback-ms`` (gRPC proposal A6). What was read and
written was ``retry-pushback-ms``, so that nobody's pushback was heeded, the gateway's own included.
"""

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from resilience import BulkheadFullError, Ending, Verdict
from resilience.core.http_status import HttpStatus, judge_of, status_of, verdicts_of
from resilience.core.retry_after import asked_for
from resilience.core.vendor_errors import as_vendor_error
from resilience.gateway.messages.grpc_status import refusal
from resilience.integrations.grpc_status import FAILURES, AioGuardRpcError, GuardRpcError


def test_the_gateways_pushback_is_understood_and_makes_its_refusal_busy():
    _, headers, _ = refusal(503, "overloaded", [(b"retry-after", b"7")])
    trailers = Metadata(*((name.decode(), value.decode()) for name, value in headers if b"pushback" in name))
    error = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), trailers, "overloaded")
    assert 7.0 == asked_for(error)
    rule = FAILURES.status
    assert isinstance(rule, HttpStatus)
    assert None is FAILURES.judge(Ending(error=error))
    assert Verdict.BUSY is judge_of(rule)(error, status_of(error), verdicts_of(rule))


@pytest.mark.parametrize("kind", [GuardRpcError, AioGuardRpcError])
def test_a_refusal_of_ours_is_understood_by_others_and_asks_for_no_less_than_it_should(kind):
    error = as_vendor_error(BulkheadFullError("key", 0.0301), kind)
    assert [("grpc-retry-pushback-ms", "31")] == list(error.trailing_metadata())
