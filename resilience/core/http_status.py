"""HTTP status rules: what the status code of an answer, or of an exception, says about the target.

Client libraries agree on the number and not on its place: ``status_code`` (requests, httpx, openai), ``status``
(aiohttp, urllib), the exception's ``response``, botocore's ``ResponseMetadata``, and the codes of gRPC, which have
their HTTP numbers in Google's table (google/rpc/code.proto).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from ..errors import ConfigError
from .checks import strict
from .plain_numbers import bare_number
from .retry_after import asked_for
from .setting_names import strict_function
from .verdict import Verdict

#: google/rpc/code.proto, "HTTP Mapping".
GRPC: Final = {
    "OK": 200, "CANCELLED": 499, "UNKNOWN": 500, "INVALID_ARGUMENT": 400, "DEADLINE_EXCEEDED": 504, "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409, "PERMISSION_DENIED": 403, "UNAUTHENTICATED": 401, "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400, "ABORTED": 409, "OUT_OF_RANGE": 400, "UNIMPLEMENTED": 501, "INTERNAL": 500,
    "UNAVAILABLE": 503, "DATA_LOSS": 500,
}
_CLASS: Final = re.compile(r"[1-5]xx")
_RANGE: Final = re.compile(r"([1-5]\d\d)-([1-5]\d\d)")
_CODE: Final = re.compile(r"[1-5]\d\d")
_WANTED: Final = 'status codes such as 503, "5xx" or "500-504"'


def as_codes(value: Any) -> Any:
    """A converter: one code or word is as good as a tuple of it, and so is a list."""
    if isinstance(value, (int, str)):
        return (bare_number(value),)
    return tuple(map(bare_number, value)) if isinstance(value, Iterable) else value


def is_code(value: Any) -> bool:
    """Whether *value* is meant as status codes, rather than as the name of something."""
    return isinstance(value, int) or (isinstance(value, str) and value[:1].isdigit())


def codes_of(name: str, value: Any) -> frozenset[int]:
    """The status codes that a tuple of numbers and words stands for.

    Raises:
        ConfigError: One of them stands for none; *name* says where.
    """
    found: set[int] = set()
    for each in value if isinstance(value, tuple) else (value,):
        word = str(int(each)) if isinstance(each, int) and not isinstance(each, bool) else each
        if not isinstance(word, str):
            raise ConfigError(f"{name} must be {_WANTED}, not {each!r}", name)
        span = _RANGE.fullmatch(word)
        if _CODE.fullmatch(word):
            found.add(int(word))
        elif _CLASS.fullmatch(word.lower()):
            found.update(range(int(word[0]) * 100, int(word[0]) * 100 + 100))
        elif span is not None and int(span[1]) <= int(span[2]):
            found.update(range(int(span[1]), int(span[2]) + 1))
        else:
            raise ConfigError(f"{name} must be {_WANTED}, not {each!r}", name)
    return frozenset(found)


def codes_checked(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that these are status codes.

    Raises:
        ConfigError: They are not.
    """
    codes_of(attribute.name, value)


Codes = tuple[int | str, ...]
#: What the fields of an HttpStatus stand for.
_VERDICTS: Final = {"failed": Verdict.FAILED, "busy": Verdict.BUSY, "caller_fault": Verdict.CALLER_FAULT}


@strict
@attrs.frozen
class HttpStatus:
    """Rule that judges answers and exceptions by their HTTP status, or by their gRPC code.

    Immutable: any number of commands and threads may share one. ``http_status()`` makes one. A code that no field
    names is good in an answer, and in an exception the caller's fault if it is 3xx or 4xx.

    Attributes:
        failed: Codes that say the target is unhealthy: 503, "5xx" or "500-504", one or several.
        busy: Codes that say the target is healthy and refuses for now.
        busy_when_asked: Codes that mean busy if the answer says Retry-After, and failed if it does not.
        caller_fault: Codes that say the call was wrong.
    """

    failed: Codes = attrs.field(default=("5xx",), converter=as_codes, validator=codes_checked)
    busy: Codes = attrs.field(default=(429,), converter=as_codes, validator=codes_checked)
    busy_when_asked: Codes = attrs.field(default=(503,), converter=as_codes, validator=codes_checked)
    caller_fault: Codes = attrs.field(default=(), converter=as_codes, validator=codes_checked)


def judge_of(rule: HttpStatus) -> Callable[[Any, int, dict[int, Verdict]], Verdict]:
    """What gives the verdict about an answer whose code is among the ``verdicts_of`` the *rule*."""
    asked = codes_of("busy_when_asked", rule.busy_when_asked)

    def judge(what: Any, status: int, verdicts: dict[int, Verdict]) -> Verdict:
        verdict = verdicts[status]
        if verdict is Verdict.FAILED and status in asked and asked_for(what, _any_time) is not None:
            return Verdict.BUSY
        return verdict

    return judge


def verdicts_of(rule: HttpStatus) -> dict[int, Verdict]:
    """Verdicts by code, without those that are good.

    A more specific code beats a more general one: 503 beats "500-504", and that beats "5xx". Of two that are as
    specific, one that a field has by default gives way, then ``failed`` to ``busy``, and that to ``caller_fault``.
    """
    fields = attrs.fields_dict(HttpStatus)
    said = [(codes_of(name, (word,)), word not in (fields[name].default or ()), verdict)
            for name, verdict in _VERDICTS.items() for word in getattr(rule, name)]
    verdicts: dict[int, Verdict] = {}
    for codes, _, verdict in sorted(said, key=lambda each: (-len(each[0]), each[1])):
        verdicts |= dict.fromkeys(codes, verdict)
    return verdicts


@strict_function
def http_status(failed: Any = ("5xx",), busy: Any = (429,), busy_when_asked: Any = (503,),
                caller_fault: Any = ()) -> HttpStatus:
    """Return a rule that judges answers and exceptions by their HTTP status, or by their gRPC code.

    Args:
        failed: Codes that say the target is unhealthy: 503, "5xx" or "500-504", one or several.
        busy: Codes that say the target is healthy and refuses for now.
        busy_when_asked: Codes that mean busy if the answer says Retry-After, and failed if it does not.
        caller_fault: Codes that say the call was wrong.

    Raises:
        ConfigError: What one of them says is no status code, or a setting is unknown.
    """
    return HttpStatus(failed, busy, busy_when_asked, caller_fault)


def status_of(what: Any) -> int | None:
    """The HTTP status of an answer or an exception, wherever its library keeps it; None: it has none.

    Never raises an Exception: properties of somebody else's object may.
    """
    try:
        for holder in (what, getattr(what, "response", None)):
            if isinstance(holder, dict):
                code = _number(holder.get("ResponseMetadata", {}).get("HTTPStatusCode"))
                if code is not None:
                    return code
            for name in ("status_code", "status"):
                code = _number(getattr(holder, name, None))
                if code is not None:
                    return code
        code = getattr(what, "code", None)  # gRPC's is a method, urllib's HTTPError has a number
        if callable(code):
            return GRPC.get(getattr(code(), "name", ""))
        return _number(code)
    except Exception:  # noqa: BLE001 - somebody else's object
        return None


def is_called_status(what: Any) -> bool:
    """Whether an answer keeps its HTTP status in ``status`` and not in ``status_code``. Never raises an Exception."""
    try:
        return _number(getattr(what, "status_code", None)) is None and _number(what.status) is not None
    except Exception:  # noqa: BLE001 - somebody else's object
        return False


def _any_time() -> float:
    """A time to compare a date with, where it matters only that one is said."""
    return 0.0


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599 else None
