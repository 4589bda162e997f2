"""botocore and boto3 clients: what an operation amounts to, and a guard of a whole client, one command an operation.

Clients of one service in two regions, or at two endpoints, have commands of their own: those who have a second region
need it when the first one is down.

botocore raises one class, ClientError, for an unknown key (404), a wrong request (400), throttling (400 as well) and a
service that is down (503). The error code tells them apart. ``judge`` does, and is what entries of ``[guards]`` for
botocore have by default. It needs no import of botocore: it goes by the response that the exception holds, and by the
names of the classes.

botocore's own retries would multiply with those of a command, and run below its timeout, so ``guard_client`` wants a
client that makes one attempt.

botocore changes the parameters of a call in their place (a ``Body`` of bytes becomes a file, which is at its end then),
and its own retries rewind what they send. So do those of a command, through ``repeatable``: each attempt has a copy of
the parameters, but for tokens by which the service recognises a call that it has had before.
"""

from __future__ import annotations

import functools
import importlib
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeVar
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
    call = repeatable(call)
    theirs: Any = importlib.import_module("botocore.exceptions")
    guarded = translated(command(key=key, **settings)(call), Flavour.SYNC,
                         functools.partial(as_client_error, theirs.ConnectionError, theirs.ReadTimeoutError))
    client.__class__ = type(kind.__name__, (kind,), {
        "__module__": kind.__module__, "__doc__": kind.__doc__, "_is_guarded": True, "_make_api_call": guarded})
    return client


@functools.lru_cache(maxsize=64)
def repeatable(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes an operation as *call* does, and can be called again with the same parameters if that fails.

    Args:
        call: ``_make_api_call`` of a client.
    """

    @functools.wraps(call)
    def make(self: Any, operation_name: str, api_params: dict[str, Any]) -> Any:
        model = self.meta.service_model.operation_model(operation_name)
        for name in model.idempotent_members:  # as botocore does, which would make another one each time
            api_params.setdefault(name, str(uuid.uuid4()))
        sent: list[_Body] = []
        try:
            for name, value in api_params.items():
                if hasattr(value, "read"):
                    sent.append(_Body(name, value))
            return call(self, operation_name, _copied(api_params))
        except Exception:
            for body in sent:
                body.rewind(api_params)
            raise
        finally:
            for body in sent:
                body.leave()

    return make


class _Body:
    """A file among the parameters of one attempt.

    Attributes:
        taken: Those that are being sent, by id; an attempt that was left for its timeout may go on with its own.
    """

    taken: ClassVar[set[int]] = set()

    def __init__(self, name: str, file: Any) -> None:
        """Begin to send it.

        Raises:
            UnseekableStreamError: Another attempt does so, or did and left nothing to send.
        """
        self._name, self._file = name, file
        if type(file) is _Spent or id(file) in self.taken:
            errors: Any = importlib.import_module("botocore.exceptions")
            is_spent = type(file) is _Spent
            raise errors.UnseekableStreamError(
                stream_object=file if is_spent else f"{file!r}, which another attempt is still sending")
        try:
            self._start = file.tell() if getattr(file, "seekable", lambda: True)() else None
        except Exception:  # noqa: BLE001 - whatever an object of the caller's has for a file
            self._start = None
        self.taken.add(id(file))

    def rewind(self, params: dict[str, Any]) -> None:
        """Let the next attempt send all of it, or, where that cannot be, nothing."""
        try:
            self._file.seek(self._start)
        except Exception:  # noqa: BLE001 - it cannot be rewound
            params[self._name] = _Spent()

    def leave(self) -> None:
        """It is not being sent any more."""
        self.taken.discard(id(self._file))


class _Spent:
    """In the place of a file that was sent, at least in part, and cannot be rewound."""

    def read(self) -> bytes:
        """Nothing; it is what a file is known by."""
        return b""

    def __repr__(self) -> str:
        return "a stream that was sent before"


def _copied(value: Any) -> Any:
    """*value* with copies of all mappings and lists in it."""
    if type(value) is dict:
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if type(value) is list else value
