"""botocore and boto3 clients: what an operation amounts to, and a guard of a whole client, one command an operation.

Clients of one service in two regions, or at two endpoints, have commands of their own: those who have a second region
need it when the first one is down.

botocore raises one class, ClientError, for an unknown key (404), a wrong request (400), throttling (400 as well) and a
service that is down (503). The error code tells them apart. ``judge`` does, and is what entries of ``[guards]`` for
botocore have by default. It needs no import of botocore: it goes by the response that the exception holds, and by the
names of the classes.

botocore's own retries would multiply with those of a command, and run below its timeout, so ``guard_client`` wants a
client that makes one attempt.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from .. import Ending, FailureRules, Verdict, command, http_status
from ..core.vendor_errors import as_client_error
from ..engine.error_translation import translated
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from .request_mistakes import aiohttp_mistake, urllib3_mistake

__all__ = ["FAILURES", "guard_client"]

C = TypeVar("C")

#: Codes that mean throttling and whose names do not say so; from the AWS SDKs' reference, "Retry behavior".
_BUSY_CODES: Final = frozenset({
    "BandwidthLimitExceeded", "LimitExceededException", "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException", "RequestLimitExceeded", "SlowDown", "TooManyRequestsException",
    "TransactionInProgressException"})
#: Status 4xx all the same: the service did not read the request in time, or a model of Bedrock's has failed.
_FAILED_CODES: Final = frozenset({"RequestTimeout", "RequestTimeoutException", "ModelTimeoutException",
                                  "ModelErrorException", "ModelStreamErrorException"})
#: What an exception in an event stream, which has no status, is called if the call was wrong; from botocore's models of
#: services, where the names of the members begin with a small letter or a capital one.
_OF_THE_CALLER: Final = re.compile(
    "AccessDenied|BadRequest|Conflict|Disabled|InUse|Invalid|NotFound|OptIn|QuotaExceeded|Validation", re.IGNORECASE)
#: Of botocore's own exceptions, those about the way to the service; all others are raised before a request is sent.
_ON_THE_WAY: Final = frozenset({"HTTPClientError", "ConnectionError", "IncompleteReadError", "FlexibleChecksumError",
                                "ResponseStreamingError"})


def judge(ending: Ending) -> Verdict | None:
    """Return what an operation of botocore amounts to; a judge for ``failures``, beside ``http_status()``.

    Args:
        ending: How the call ended.

    Returns:
        Busy for throttling, whatever its status; failed for a request that timed out at the service; the caller's
        fault for what botocore finds wrong before it sends anything: parameters, credentials, regions, and for what
        the caller's own ``Body`` raises while it is sent. None for a result, for a lost connection, and for all other
        error codes: their HTTP status decides. An exception in an event stream has none, so its name decides, and it
        is a failure if that does not say that the call was wrong.
    """
    if ending.error is None:
        return None
    names = {kind.__name__ for kind in type(ending.error).__mro__ if kind.__module__ == "botocore.exceptions"}
    response = getattr(ending.error, "response", None)
    if isinstance(response, Mapping):
        code = str(response.get("Error", {}).get("Code", ""))
        code = code[:1].upper() + code[1:]
        if code in _BUSY_CODES or "Throttl" in code:
            return Verdict.BUSY
        if code in _FAILED_CODES:
            return Verdict.FAILED
        return Verdict.CALLER_FAULT if "EventStreamError" in names and _OF_THE_CALLER.search(code) else None
    origin = vars(ending.error).get("kwargs", {}).get("error") if names else ending.error
    if isinstance(origin, BaseException) and (urllib3_mistake(origin) or aiohttp_mistake(origin)):
        return Verdict.CALLER_FAULT
    return Verdict.CALLER_FAULT if "BotoCoreError" in names and not names & _ON_THE_WAY else None


#: Failure rules for functions that use botocore or boto3.
FAILURES: Final = FailureRules(judge, status=http_status())


def guard_client(client: C, **settings: Any) -> C:
    """Guard a client of botocore or boto3: each of its operations is a command.

    Its key is the operation with its service, and the host of the client's endpoint, such as
    ``dynamodb.GetItem@dynamodb.eu-west-1.amazonaws.com``.

    The call is guarded until the response's headers are there and, but for a StreamingBody, its body. Paginators and
    waiters make several calls, each guarded by itself.

    What the guard raises of its own accord is a ConnectionError of botocore's, or a ReadTimeoutError, as well.

    Args:
        client: A client that was made with ``Config(retries={"total_max_attempts": 1})``; it is changed, and nothing
            else is.
        **settings: As of ``command``, but for ``key``. By default the group is the service's name, such as
            ``dynamodb``, and the failure rules are those of this module.

    Returns:
        The client.

    Raises:
        ConfigError: The client would retry by itself, or a setting is out of range, unknown, or contradicts another.
        TypeError: It is no client of botocore, or it is guarded already.
    """
    kind: Any = type(client)
    call = getattr(kind, "_make_api_call", None)
    if call is None:
        raise TypeError(f"guard_client guards a client of botocore or boto3, not a {kind.__qualname__}")
    if "_is_guarded" in vars(kind):
        raise TypeError("the client is guarded already")
    meta: Any = client.meta  # type: ignore[attr-defined]
    if (meta.config.retries or {}).get("total_max_attempts") != 1:
        raise ConfigError('the client would retry by itself, below the retry and the timeout of its command; make it '
                          'with config=Config(retries={"total_max_attempts": 1})', "retries")
    service, host = meta.service_model.service_name, urlsplit(meta.endpoint_url).netloc.rpartition("@")[2]

    def key(_: Any, operation_name: str, __: Any) -> str:
        return f"{service}.{operation_name}@{host}"

    settings = {"group": service, "failures": FAILURES, **settings}
    theirs: Any = importlib.import_module("botocore.exceptions")
    guarded = translated(command(key=key, **settings)(call), Flavour.SYNC,
                         functools.partial(as_client_error, theirs.ConnectionError, theirs.ReadTimeoutError))
    client.__class__ = type(kind.__name__, (kind,), {
        "__module__": kind.__module__, "__doc__": kind.__doc__, "_is_guarded": True, "_make_api_call": guarded})
    return client
