"""An exception in an event stream, such as an answer of Bedrock's, is an EventStreamError without a status, and the first
letter of its code is a small one: ``throttlingException`` and ``validationException`` opened the circuit.
"""

import pytest
from botocore.exceptions import ClientError, EventStreamError

from resilience import Registry, command
from resilience.integrations.botocore import FAILURES

VERDICTS = {"busy": ("throttlingException", "ThrottlingException", "KMSThrottlingException", "SlowDown",
                     "limitExceededException"),
            "bad_request": ("validationException", "accessDeniedException", "ResourceNotFoundException",
                            "conflictException", "invalidRequestException", "serviceQuotaExceededException"),
            "failure": ("internalServerException", "modelStreamErrorException", "modelTimeoutException",
                        "serviceUnavailableException", "badGatewayException", "InternalError", "Unknown", "")}


@pytest.mark.parametrize(("verdict", "code"), [(verdict, code) for verdict in VERDICTS for code in VERDICTS[verdict]])
def test_the_code_of_an_exception_in_an_event_stream_decides(verdict, code):
    registry = Registry()

    @command(key="model", failures=FAILURES, registry=registry)
    def events():
        yield {"chunk": b"hi"}
        raise EventStreamError({"Error": {"Code": code, "Message": "said"}}, "InvokeModelWithResponseStream")

    with pytest.raises(EventStreamError):
        list(events())
    assert 1 == registry["model"].snapshot().counts[verdict]
    registry.close()


@pytest.mark.parametrize(("status", "code", "verdict"), [
    (408, "ModelTimeoutException", "failure"), (424, "ModelErrorException", "failure"),
    (500, "InternalValidationException", "failure"), (400, "DisabledException", "bad_request"),
])
def test_an_answer_with_a_status_is_judged_by_that_but_for_models_that_have_failed(status, code, verdict):
    registry = Registry()

    @command(key="model", failures=FAILURES, registry=registry)
    def invoke():
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "InvokeModel")

    with pytest.raises(ClientError):
        invoke()
    assert 1 == registry["model"].snapshot().counts[verdict]
    registry.close()
