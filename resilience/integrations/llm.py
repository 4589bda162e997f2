"""Clients of language models, openai and anthropic: what a call, a stream and its events amount to.

A model's service says that it is overloaded in several ways, and clients pass all of them on: status 429, status 529
(Anthropic), ``Retry-After`` or ``retry-after-ms``, and an *error event* in a stream whose status was 200. A client that
reads the stream raises an APIError without a status for it, and whoever reads the stream itself gets it as an item.
OpenAI's Responses API has a fifth way: a response whose ``status`` is "failed", or the event ``response.failed`` that
holds one; the client raises neither. Services that speak OpenAI's language, such as OpenRouter and vLLM, have two more:
an error whose code is the status that it would have had, as a number or as text (LiteLLM), and a body that is such an
error although its status is 200. ``judge`` knows all of these, and it needs no import of either library.

A quota that is used up (``insufficient_quota``, status 429 as well) is the caller's: no waiting helps.

Both clients retry twice by themselves, below the retry and the limits of a command. ``guard_client`` switches that off.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from .. import Ending, FailureRules, Verdict, command, http_status, retried_by
from ..core.exception_copy import cause_of
from ..core.http_status import verdicts_of
from ..core.vendor_errors import as_client_error
from ..engine.callables import flavour_of
from ..engine.error_translation import translated
from .request_mistakes import httpx_mistake

__all__ = ["FAILURES", "guard_client"]

C = TypeVar("C")

#: In the place of a status: what an error event says in ``type`` or ``code``.
_WORDS: Final = {
    "overloaded_error": Verdict.BUSY, "rate_limit_error": Verdict.BUSY, "rate_limit_exceeded": Verdict.BUSY,
    "rate_limit": Verdict.BUSY, "requests": Verdict.BUSY, "tokens": Verdict.BUSY, "too_many_requests": Verdict.BUSY,
    "insufficient_quota": Verdict.CALLER_FAULT, "billing_error": Verdict.CALLER_FAULT,
    "invalid_request_error": Verdict.CALLER_FAULT, "authentication_error": Verdict.CALLER_FAULT,
    "permission_error": Verdict.CALLER_FAULT, "not_found_error": Verdict.CALLER_FAULT,
    "request_too_large": Verdict.CALLER_FAULT, "context_length_exceeded": Verdict.CALLER_FAULT,
    **dict.fromkeys((  # of a response that failed, by openai's ResponseError
        "invalid_prompt", "data_residency_mismatch", "bio_policy", "misalignment_policy_violation", "invalid_image",
        "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large", "image_too_small",
        "image_parse_error", "image_content_policy_violation", "invalid_image_mode", "image_file_too_large",
        "unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found",
    ), Verdict.CALLER_FAULT),
    "api_error": Verdict.FAILED, "server_error": Verdict.FAILED, "timeout_error": Verdict.FAILED,
}
_USED_UP: Final = ("insufficient_quota", "billing_error")
#: What openai raises of an answer that is complete: it was too long, or not allowed.
_OF_THE_REQUEST: Final = ("LengthFinishReasonError", "ContentFilterFinishReasonError")
#: What httpx raises before it sends anything.
_NEVER_SENT: Final = ("InvalidURL", "LocalProtocolError", "UnsupportedProtocol")
#: The ``object`` of what may be an error in the place of an answer. All others, such as jobs and videos, keep the
#: error of their own past.
_ANSWERS: Final = ("chat.completion", "chat.completion.chunk", "text_completion", "list", "error")
#: What the clients of both, and of other libraries that were generated as they were, have as a base class.
_BASES: Final = ("SyncAPIClient", "AsyncAPIClient")
_STATUSES: Final = frozenset(map(str, range(100, 600)))
_STATUS: Final = http_status(failed=(408, "500-528", "530-599"), busy=(429, 529))
_BY_STATUS: Final = verdicts_of(_STATUS)
#: Commands whose retry was found above that of a client.
_MULTIPLIED: Final[set[str]] = set()
_log = logging.getLogger("resilience")


def judge(ending: Ending) -> Verdict | None:
    """Return what a call of openai or anthropic, or an event of its stream, amounts to; a judge for ``failures``.

    Args:
        ending: How the call ended, or the event.

    Returns:
        What the error code of an exception without a status, of an error event, of a result that is an error, or of a
        response of the Responses API that failed, stands for; failed if it is unknown. The caller's fault for a quota
        that is used up, and for a request that was too long for the model. None for all else: the status decides, and
        an exception without any is a failure.
    """
    if ending.error is not None:
        _tell_of_own_retries(ending.error)
        return _of_error(ending.error)
    return _of_event(ending.result) if ending.is_item else _of_response(ending.result)


#: Failure rules for functions that use openai or anthropic, plain or streaming.
FAILURES: Final = FailureRules(judge, status=_STATUS)


def guard_client(client: C, *, key: str | None = None, **settings: Any) -> C:
    """Guard a client of openai or anthropic, synchronous or not: all of its requests are calls of one command.

    The client's own retries are switched off, also those of its copies (``with_options``) and of clients that
    functions with a retry use, so that attempts do not multiply. A streaming request is guarded until its head is
    there; for its events, decorate the generator that reads them. Errors of ours are errors of the client's, too.

    Args:
        client: The client; it is changed, and nothing else is.
        key: Name of the command; None: the library and the host, such as ``openai@api.openai.com``.
        **settings: As of ``command``. By default there is no timeout, since the client has one, the group is the
            library's name, and the failure rules are those of this module.

    Returns:
        The client.

    Raises:
        ConfigError: A setting is out of range, unknown, or contradicts another.
        TypeError: The client is no such client, or it is guarded already.
    """
    kind: Any = type(client)
    name = next((each.__module__.partition(".")[0] for each in kind.__mro__ if each.__name__ in _BASES), None)
    if name is None:
        raise TypeError(f"guard_client guards a client of openai or anthropic, not a {kind.__qualname__}")
    if "_is_guarded" in vars(kind):
        raise TypeError("the client is guarded already")
    host = urlsplit(str(client.base_url)).netloc.rpartition("@")[2]  # type: ignore[attr-defined]
    settings = {"group": name, "timeout": None, "failures": FAILURES, **settings}
    guarded = command(key=f"{name}@{host}" if key is None else key, **settings)(kind.request)
    client.__class__ = type(kind.__name__, (kind,), {
        "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__, "_is_guarded": True,
        "max_retries": property(lambda _: 0, lambda *_: None),  # whatever with_options() says
        "request": translated(guarded, flavour_of(kind.request),
                              functools.partial(_as_theirs, importlib.import_module(name)))})
    return client


def _as_theirs(library: Any, error: Exception) -> Exception:
    """An error of ours as one of the *library*, too, with what its users ask such errors for."""
    both = as_client_error(library.APIConnectionError, library.APITimeoutError, error)
    usual = vars(library.APIConnectionError(request=None))
    vars(both).update({name: value for name, value in usual.items() if not hasattr(both, name)}, message=str(error))
    return both


def _tell_of_own_retries(error: Exception) -> None:
    """Log, once for each command, that its retry multiplies with that of the client, which says so in its requests."""
    headers = getattr(getattr(error, "__dict__", {}).get("request"), "headers", None)
    repeated = headers.get("x-stainless-retry-count", "") if isinstance(headers, Mapping) else ""
    if not repeated.isdecimal() or int(repeated) == 0:
        return
    key = retried_by()
    if key is not None and key not in _MULTIPLIED:
        _MULTIPLIED.add(key)
        _log.warning("%s: its retry and the client's own multiply: within one attempt the client sent a request %s "
                     "times; give the client to guard_client of resilience.integrations.llm, or make it with "
                     "max_retries=0", key, int(repeated) + 1)


def _of_error(error: Exception) -> Verdict | None:
    if type(error).__name__ in _OF_THE_REQUEST or _was_not_sent(error):
        return Verdict.CALLER_FAULT
    word, status = _word(getattr(error, "body", None), getattr(error, "code", None)), getattr(error, "status_code", 0)
    if word is None or (isinstance(status, int) and status >= 400 and word not in _USED_UP):
        return None
    return _meaning(word)


def _was_not_sent(error: Exception) -> bool:
    """Whether the URL or a header of a request could not be sent, or the caller's own upload raised something.

    Both clients call that a lost connection, and its cause is what httpx has raised.
    """
    cause = cause_of(error)
    return (type(cause).__module__.startswith("httpx") and type(cause).__name__ in _NEVER_SENT) or httpx_mistake(error)


def _of_event(event: Any) -> Verdict | None:
    """What an event amounts to: ``{"type": "error", "error": {...}}``, or an object with these attributes."""
    error, kind = _error_in(event), _field(event, "type")
    if error is None:
        if kind == "response.failed":
            return _of_response(_field(event, "response")) or Verdict.FAILED
        if kind != "error":
            return None
        error = event  # of the Responses API: code and message stand in the event itself
    return _of_words(error)


def _of_response(response: Any) -> Verdict | None:
    """What a response amounts to that is an error, or a failed one of the Responses API, returned or in an event."""
    if _field(response, "object") == "response":
        return _of_words(_field(response, "error")) if _field(response, "status") == "failed" else None
    error = _error_in(response)
    return _of_words(error) if isinstance(_field(error, "message"), str) else None


def _error_in(answer: Any) -> Any:
    """The error that an answer or event is; None: there is none, or it is that of a job that the answer tells of."""
    error, kind = _field(answer, "error"), _field(answer, "object")
    is_own = isinstance(kind, str) and kind not in _ANSWERS
    return None if is_own or (isinstance(error, str) and not error) else error


def _of_words(error: Any) -> Verdict:
    word = _word(error, _field(error, "code"))
    return Verdict.FAILED if word is None else _meaning(word)


def _meaning(word: str | int) -> Verdict:
    if isinstance(word, str):
        return _WORDS.get(word, Verdict.FAILED)
    return _BY_STATUS.get(word, Verdict.CALLER_FAULT if 400 <= word < 500 else Verdict.FAILED)


def _word(body: Any, code: Any) -> str | int | None:
    """The first code or type of an error that means something here; else a status; else any; None: there is none."""
    inner = _field(body, "error")
    found = [code, *(_field(each, name) for each in (inner, body) for name in ("code", "type"))]
    words = [each for each in found if isinstance(each, str) and each != "error"]
    status = next((int(each) for each in found if type(each) in (int, str) and str(each) in _STATUSES), None)
    return next((each for each in words if each in _WORDS), status or (words[0] if words else None))


def _field(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
