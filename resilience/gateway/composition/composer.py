"""Composer: asks the services of a composition, each through its own command, and merges what they answer.

Parts are asked at once as far as they do not need each other. A part that must be there and is not ends the whole: the
parts under way are cancelled, and the client is told why. So they are when the client leaves, which cancels the task.
A call that is cancelled is nobody's failure.

    for a part's headers           command.timeout of its service      timeout
    for a piece of a part's body   idle_timeout of its service         failed
    for a part's whole body        max_body of the part                failed
    for all parts                  timeout of the composition          timeout
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from ...errors import CallTimeoutError, CircuitOpenError, DeadlineExceededError, RejectedError, ResilienceError
from ...registry import Registry
from ..change import Act
from ..config import FilterConfig, GatewayConfig
from ..config.compositions import CompositionConfig, PartConfig
from ..filters.context import FilterContext
from ..filters.declare import endpoint_filter
from ..filters.step import Step, step_of
from ..messages.content import ASKED_PLAIN, decoded, is_json, media_type
from ..messages.exchange import Header, InvalidRequestError, Request, UpstreamError, UpstreamTooLargeError
from ..messages.json_pointer import MISSING, found, parsed
from ..messages.json_text import MalformedJsonError, parse, serialize
from ..messages.problem import Problem, problem_of
from ..messages.unreadable_body import UnreadableBodyError
from ..services.service import Service
from ..subrequest import asked
from .merging import NO_STORE, caching, merged, states_field, suits
from .plan import OK, SKIPPED, Outcome, Progress
from .target import NoValueError, UnfitValueError, first_values

#: Strings, numbers, arrays and objects in the answer of one part; services are not out to do harm, as clients may be.
_MAX_VALUES: Final = 100_000
#: A composition ends by itself; its command, which is there for the statistics, waits longer.
_GRACE_S: Final = 5.0
#: The field with the states of the parts, a dictionary of RFC 9651.
PARTS_FIELD: Final = b"parts-status"
#: Headers of the client that are about the merged answer, or about a body that the parts do not get.
_NOT_FOR_PARTS: Final = frozenset({
    b"accept", b"accept-encoding", b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since",
    b"if-unmodified-since", b"content-type", b"content-encoding", b"content-length", b"content-range",
    b"content-language", b"content-location",
})
_FOR_PARTS: Final = ((b"accept", b"application/json"), ASKED_PLAIN)


def endpoints(config: GatewayConfig, services: Mapping[str, Service], registry: Registry,
              once_in_force: Callable[[Act], object]) -> dict[str, Step]:
    """The endpoints that answer by the compositions of a gateway, by the compositions' names.

    Args:
        config: Of the gateway.
        services: By name.
        registry: Where the gateway's commands are.
        once_in_force: See FilterHost.
    """
    made = {}
    for name, composition in config.compositions.items():
        composer = Composer(composition, services)
        settings = FilterConfig.of(composer, name=f"composition.{name}", time_limit=composition.timeout + _GRACE_S)
        made[name] = step_of(settings, composer, registry, once_in_force=once_in_force)
    return made


@attrs.frozen
class Composed:
    """A merged answer.

    Attributes:
        headers: Without Content-Length.
        body: JSON.
    """

    headers: list[Header]
    body: bytes


class _PartError(Exception):
    """A part has no answer.

    Attributes:
        state: What became of it.
        problem: What the client is told if the part must be there.
    """

    def __init__(self, state: str, problem: Problem) -> None:
        super().__init__(state)
        self.state, self.problem = state, problem


@attrs.frozen
class _Answer:
    """A part's answer that is one."""

    value: Any
    headers: Sequence[Header]


@endpoint_filter(name="compose")
class Composer:
    """Answers by one composition, as the endpoint of its routes. For one event loop."""

    def __init__(self, config: CompositionConfig, services: Mapping[str, Service]) -> None:
        """Nobody is asked yet.

        Args:
            config: Without conflicts.
            services: By name.
        """
        self._config = config
        self._services = {name: services[part.service] for name, part in config.parts.items()}
        self._needs = {name: part.needs for name, part in config.parts.items()}

    async def __call__(self, context: FilterContext) -> None:
        """Answer one request."""
        request = context.request
        try:
            composed = await self.compose(request.headers.lines, request.host.encode("latin-1"), request.parameters,
                                          request.query.encode("latin-1"), request.client,
                                          is_known=context.identity is not None)
        except Problem as problem:
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in problem.headers]
            context.refuse(problem.status, problem.detail, headers)
            return
        context.answer(200, composed.body, [(name.decode("latin-1"), value.decode("latin-1"))
                                            for name, value in composed.headers])

    async def compose(self, headers: Sequence[Header], host: bytes | None, parameters: Mapping[str, str],
                      query: bytes, client: bytes | None = None, *, is_known: bool = False) -> Composed:
        """Ask the parts, and merge their answers.

        Args:
            headers: Of the client's request, as they are sent upstream.
            host: The Host header to send to services that want the client's.
            parameters: Of the route's path, decoded.
            query: The client's raw query.
            client: See messages.exchange.Request.
            is_known: Whether a filter has found out who the client is, and perhaps taken its credentials off.

        Raises:
            Problem: A part that must be there is not.
        """
        passed = [header for header in headers if header[0] not in _NOT_FOR_PARTS]
        run = _Run(self, [*passed, *_FOR_PARTS], host, parameters, first_values(query), client)
        run.is_authorized = is_known or any(name == b"authorization" for name, _ in headers)
        return await run.whole()


class _Run:
    """One composition under way. Of one task.

    Attributes:
        is_authorized: Whether the client has said who it is.
    """

    is_authorized = False

    def __init__(self, composer: Composer, headers: list[Header], host: bytes | None, parameters: Mapping[str, str],
                 query: Mapping[str, str], client: bytes | None) -> None:
        self._client = client
        self._config, self._services = composer._config, composer._services
        self._headers, self._host, self._parameters, self._query = headers, host, parameters, query
        self._progress = Progress(composer._needs)
        self._answered: dict[str, Sequence[Header]] = {}
        self._tasks: dict[asyncio.Task[_Answer], str] = {}

    async def whole(self) -> Composed:
        """Ask everybody, and merge.

        Raises:
            Problem: A part that must be there is not.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self._config.timeout
        try:
            self._start()
            while self._tasks:
                done, _ = await asyncio.wait(self._tasks, timeout=max(0.0, end - clock()),
                                             return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    self._time_is_up()
                    break
                for task in done:
                    self._settle(self._tasks.pop(task), task)
                self._start()
        finally:
            await _cancelled(self._tasks)
        return self._merged()

    def _start(self) -> None:
        """Ask the parts that may be asked now."""
        ready = self._progress.ready()
        while ready:
            for name in ready:
                part = self._config.parts[name]
                try:
                    target = part.target.filled(self._parameters, self._query, self._progress.answers())
                except (NoValueError, UnfitValueError) as error:
                    self._unfit(name, error)
                    continue
                self._tasks[asyncio.ensure_future(self._ask(name, part, target))] = name
            ready = self._progress.ready()
        for name, outcome in self._progress.outcomes.items():
            if outcome.state == SKIPPED and self._config.parts[name].required:
                raise Problem(502, f"{name} could not be asked, since another part has no answer")

    def _unfit(self, name: str, error: NoValueError | UnfitValueError) -> None:
        """A value for a part's target is missing, or would change its shape."""
        part = self._config.parts[name]
        if isinstance(error, UnfitValueError) and not part.target.parts:
            raise Problem(400, f"a parameter cannot stand in a path: {error}")
        why = "is missing" if isinstance(error, NoValueError) else "cannot stand in a path"
        self._fail(name, _PartError(SKIPPED, Problem(502, f"{name} could not be asked: a value for it {why}")))

    def _settle(self, name: str, task: asyncio.Task[_Answer]) -> None:
        error = task.exception()
        if error is None:
            answer = task.result()
            self._answered[name] = answer.headers
            self._progress.settle(name, Outcome(OK, answer.value))
        elif isinstance(error, _PartError):
            error.__traceback__ = None
            self._fail(name, error)
        else:
            raise error

    def _fail(self, name: str, error: _PartError) -> None:
        part = self._config.parts[name]
        if part.required:
            raise error.problem
        self._progress.settle(name, Outcome(error.state))

    def _time_is_up(self) -> None:
        for name in self._tasks.values():
            self._fail(name, _PartError("timeout", Problem(504, f"{name} did not answer in time")))
        self._progress.ready()  # skips those that wait for them
        for name, part in self._config.parts.items():
            if name not in self._progress.outcomes and part.required:
                raise Problem(504, f"{name} could not be asked in time")
            self._progress.outcomes.setdefault(name, Outcome(SKIPPED))

    async def _ask(self, name: str, part: PartConfig, target: bytes) -> _Answer:
        """Ask one service.

        Raises:
            _PartError: It gave no answer that is one.
        """
        service = self._services[name]
        request = Request(method="GET", target=target, host=self._host if service.preserve_host else None,
                          headers=self._headers, client=self._client)
        try:
            answer = await asked(service, request, part.max_body)
        except InvalidRequestError as error:
            raise _PartError("failed", Problem(error.status, f"{error}")) from None
        except UpstreamTooLargeError:
            raise _PartError("failed", Problem(502, f"the answer of {name} is too large")) from None
        except (ResilienceError, UpstreamError) as error:
            raise _PartError(_state_of(error), problem_of(error, service.name)) from None
        if not 200 <= answer.status < 300:
            shown = answer.status if 400 <= answer.status < 600 else 502
            raise _PartError("failed", Problem(shown, f"{name} answered with status {answer.status}"))
        return _Answer(self._value(name, part, answer.headers, answer.body), answer.headers)

    def _value(self, name: str, part: PartConfig, headers: Sequence[Header], body: bytes) -> Any:
        """The value of a part's answer.

        Raises:
            _PartError: It cannot be merged.
        """
        try:
            if not is_json(media_type(headers)):
                raise MalformedJsonError("it is not JSON")
            value = found(parse(decoded(body, headers, part.max_body), max_values=_MAX_VALUES), parsed(part.select))
        except UnreadableBodyError:
            value = MISSING
        if value is MISSING or not suits(self._config.merge, value):
            raise _PartError("failed", Problem(502, f"the answer of {name} cannot be merged"))
        return value

    def _merged(self) -> Composed:
        outcomes, parts = self._progress.outcomes, self._config.parts
        states = {name: outcomes[name].state for name in parts}
        values = [(name, outcomes[name].value if states[name] == OK else part.default) for name, part in parts.items()]
        is_whole = all(state == OK for state in states.values())
        cached = [(b"cache-control", NO_STORE)]
        if is_whole:
            cached = caching([self._answered[name] for name in parts], authorized=self.is_authorized)
        headers = [(b"content-type", b"application/json"), (PARTS_FIELD, states_field(states)), *cached]
        return Composed(headers, serialize(merged(self._config.merge, values)))


def _state_of(error: BaseException) -> str:
    if isinstance(error, CircuitOpenError):
        return "open"
    if isinstance(error, (CallTimeoutError, DeadlineExceededError)):
        return "timeout"
    return "refused" if isinstance(error, RejectedError) else "failed"


async def _cancelled(tasks: Mapping[asyncio.Task[Any], str]) -> None:
    """Cancel what is under way, and wait until it has ended: so long, its permits are taken."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody warns of it

