"""Service commands: which settings the command around the calls of a service may have, and what they make of it.

They are not listed here: a service may have every setting of a command (config/commands.py), policies of users' own
included, but for those that REFUSED names. What the settings of one service say together is tried on a command in a
registry of its own, so that the engine's own rules hold for the file, too.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from ...config.commands import Setting, default_settings, layer_at, layer_of, policy_of, settings
from ...config.document import Document
from ...config.layers import LIBRARY
from ...config.mistakes import shown
from ...config.structure import mistakes_in
from ...core.bulkhead import Bulkhead, most_at_once
from ...core.failure_rules import FailureRules, status_rule
from ...core.http_status import HttpStatus
from ...core.setting_names import unknown_option
from ...decorate.commands import command
from ...errors import ConfigError
from ...policies.failures import FAILURES
from ...policies.order import kit_named, setting_kits
from ...policies.settings import settings_with
from ...registry import Registry
from ..messages.exchange import Exchange, IgnoredAnswerError, InvalidRequestError, LocalLimitError, Request
from .replacing import in_place

if TYPE_CHECKING:
    from .served_endpoint import ServedEndpoint

#: What makes one exchange: it is given the request, and what is to be told when it has been sent.
Exchanging = Callable[[Request, "Sending"], AsyncGenerator[Exchange, None]]


class Sending(Protocol):
    """One attempt to send a request.

    Attributes:
        endpoint: Where it goes.
        sent: Whether any byte of it may have reached the endpoint.
        counts: What a rule says that its answer counts as; None: no rule says anything.
        keeps: Whether somebody else releases the exchange, later than the attempt ends.
    """

    endpoint: ServedEndpoint
    sent: bool
    counts: str | None
    keeps: bool


GROUP: Final = "gateway"
#: What says nothing of an endpoint.
_IGNORED: Final = (InvalidRequestError, LocalLimitError, IgnoredAnswerError)
#: For whom there is a command: the service, or each of its endpoints, or these and a circuit of the service as well.
PER: Final = ("service", "endpoint", "both")
#: What a service has that says nothing, where it is not what every command has.
#: 501 and 505 are about the request.
USUAL: Final[Mapping[str, Any]] = {
    "max_concurrent": Bulkhead(100, max_wait=0.5), "failures": FailureRules(status=HttpStatus((500, 502, 503, 504)))}
#: The longest timeout there is, seconds.
_LONGEST_S: Final = 86_400.0
_EVENT_LOOP: Final = "the gateway calls its services on its event loop and has no worker threads"
#: What commands have elsewhere and a service cannot have, with the reason.
REFUSED: Final[Mapping[str, str]] = {
    "retry": "a request is repeated at another endpoint; say how in the table retry of the service",
    "failover": "a service has endpoints instead of targets, and goes on to another one by itself",
    "hedge": "another endpoint is asked as well; say when in the key hedge of the service",
    "cache": "the gateway passes a response's body on as it arrives and keeps none; put a caching proxy in front of it",
    "stream_timeout": "a service answers once, with the headers of a response; use timeout for the wait for these, and "
                      "idle_timeout for that for each piece of the body",
    "fallback": "the gateway answers for a service with an error response (RFC 9457); there is no function to call",
    "raise_as": "the gateway itself answers for refusals and timeouts; there is no code that expects another class",
    "ignore": "the gateway itself knows which requests are the client's fault",
    "key": "the key of a service's command is the name of the service",
    "group": f"the group of a service's command is {GROUP}",
    "isolation": _EVENT_LOOP,
    "pool": _EVENT_LOOP,
}


def accepted() -> Mapping[str, Setting]:
    """The settings that a service's command may have, by name."""
    return {name: setting for name, setting in settings().items() if name not in REFUSED}


def guarded(exchange: Exchanging, said: Mapping[str, Any], *, registry: Registry, key: str | None = None,
            anew: bool = False, **options: Any) -> Exchanging:
    """Guard the exchanges of a service as its settings say.

    Args:
        exchange: Makes one exchange.
        said: The settings, by name.
        registry: Keeps the command.
        key: Of the command.
        anew: The settings take the place of those that the registry's command with this key has. It keeps its circuit,
            its statistics, and what its limits have booked: nothing is refilled.
        **options: ``group``, as for resilience.command.

    Raises:
        ConfigError: A setting is out of range or contradicts another; nothing has changed then.
    """
    replaced = {name for kit in setting_kits() if said.get(kit.name) is not None for name in kit.instead_of}
    usual = {name: value for name, value in USUAL.items() if name not in replaced}
    settings: dict[str, Any] = {"group": GROUP, **usual, **said, **options}
    guard: Callable[[Exchanging], Exchanging] = command(**settings, ignore=_IGNORED, key=key, registry=registry)
    return in_place(registry, key, functools.partial(guard, exchange)) if anew and key is not None else guard(exchange)


def statuses(said: Mapping[str, Any]) -> HttpStatus:
    """What the failure rules among the settings say of statuses."""
    rules = FAILURES.meant({**USUAL, **said}["failures"])
    status = None if rules is None else status_rule(rules)
    return HttpStatus((), (), ()) if status is None else status


def suited(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that a service's command may have these settings.

    Raises:
        ConfigError: It cannot; the message says why.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{attribute.name} must be settings by name, such as {{'timeout': 0.5}}, not {value!r}",
                          attribute.name)
    for name in value:
        if name in REFUSED:
            raise ConfigError(REFUSED[name], name)
        if name == "per":
            if value[name] not in PER:
                raise ConfigError(f"per must be one of {', '.join(PER)}, not {value[name]!r}", "per")
        elif name not in settings():
            raise unknown_option(name, accepted(), attribute.name)
    own = without_per(value)
    if own:  # the usual settings suit by themselves
        guarded(no_exchange, own, registry=Registry())


def limit_of(said: Mapping[str, Any]) -> float:
    """How many exchanges of one command may be under way at once; infinite: nobody knows."""
    if said.get("adaptive_limit") is not None:
        return inf
    limit = said.get("max_concurrent", USUAL["max_concurrent"])
    limit = most_at_once(limit)
    return inf if limit is None else float(limit)


def with_bound(said: Mapping[str, Any], deadline: float | None) -> Mapping[str, Any]:
    """The settings, with a timeout if they have none: a deadline is kept by whoever has a timeout.

    Args:
        said: The settings, by name.
        deadline: Of whole requests, seconds; None: what clients say.
    """
    return {**said, "timeout": deadline or _LONGEST_S} if _timeout_of(said) == inf else said


def usual_s(said: Mapping[str, Any], deadline: float | None) -> float:
    """How long an exchange may take until its head is there, if no client says less, seconds; infinite: any time."""
    return min(_timeout_of(said), inf if deadline is None else deadline)


def _timeout_of(said: Mapping[str, Any]) -> float:
    timeout = said.get("timeout", default_of("timeout"))
    return inf if timeout is None else float(timeout)


def default_of(name: str) -> Any:
    """What a setting is of which a service says nothing."""
    return USUAL[name] if name in USUAL else getattr(default_settings(), name)


def without_per(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the command itself."""
    return {name: value for name, value in said.items() if name != "per"}


def is_per_endpoint(said: Mapping[str, Any], endpoints: int) -> bool:
    """Whether each endpoint has a command of its own.

    By default, if there are several, so that a sick one does not close the service; but not with a rate limit, which is
    meant for all of them.
    """
    per = said.get("per")
    return endpoints > 1 and said.get("rate_limit") is None if per is None else per != "service"


def has_service_circuit(said: Mapping[str, Any]) -> bool:
    """Whether a service whose endpoints have commands of their own has a circuit around whole requests as well."""
    return said.get("per") in (None, "both")


async def no_exchange(request: Request, sending: Sending) -> AsyncGenerator[Exchange, None]:
    """Stand in for an exchange, and be never called."""
    none: tuple[Exchange, ...] = ()
    for each in none:
        yield each


def read(document: Document, *path: str, of_service: Iterable[str] = ()) -> dict[str, Any]:
    """The settings in the table at *path*, by name; what is wrong is noted in *document*, and left out.

    Args:
        document: The file.
        path: Keys from the top.
        of_service: Settings of the service itself, which stand one table higher.
    """
    table = document.at(*path)
    per = table.get("per") if isinstance(table, dict) else None
    if per is not None and per not in PER:
        document.mistake((*path, "per"), f"must be one of {', '.join(PER)}, not {shown(per)}")
    refused = {**dict.fromkeys(of_service, "is a setting of the service itself; write it into the service's own table"),
               **REFUSED}
    layer = layer_at(document, path, accepted(), refused, ("per",))  # the rest are settings of the command itself
    usual = {**USUAL, "max_concurrent": USUAL["max_concurrent"].max_concurrent}  # a number said is no wait
    leaves = {**layer_of(settings_with(default_settings(), **usual), LIBRARY), **layer}
    wrong = [f"{mistake.key}." for mistake in document.mistakes]
    found: dict[str, Any] = {} if per is None else {"per": per}
    for name in dict.fromkeys(leaf.partition(".")[0] for leaf in layer):
        kit, value, key = kit_named(name), leaves[name].value, document.place((*path, name)).key
        if any(each.startswith(f"{key}.") for each in wrong):
            continue
        try:
            is_table = accepted()[name].policy is not None and value is not None
            found[name] = kit.said(policy_of(kit, leaves)) if kit is not None and is_table else value
        except ConfigError as error:
            for inner, message in mistakes_in(error, (name,)):
                document.mistake((*path, *inner), message)
    return found
