"""The admin API, below ``/admin/``: everything can be read, and what the file says can be changed until it is reloaded.

Nobody but the owner of a token has it, not even to look: a configuration says where the services are. There are no
cookies, so that no page in a browser can use the rights of its user; what a browser sends for a page of another origin
is refused besides. A change is checked as a file is, is put in force in all workers or in none, and is logged with the
name of the token and the address that it came from. It goes on if its client leaves: half of the workers would be left
with it.

What can be changed stands in supervision/patches.py. With ``?fleet=true`` a change goes to all gateways of the fleet
(supervision/fleet.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import attrs

from ...asgi import Receive, Scope, Send
from ...config import ConfigFileError
from ...errors import ConfigError
from ..config.effective import shown
from ..config.tokens import TokenOwners
from ..messages.problem import Problem
from ..supervision.fleet import NoFleetError, order_of, things_of
from ..supervision.patches import check_patch, merged
from ..supervision.supervisor import Supervisor
from .answers import respond, respond_problem

_MOST_BYTES: Final = 4 * 1024 * 1024
_WHAT: Final = "the admin API"
_CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="resilience"')
_logger = logging.getLogger(__name__)

Handler = Callable[..., Awaitable[Any]]


class AdminApi:
    """The part of the admin application below ``/admin``.

    Args:
        supervisor: Whose gateway it shows and changes.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._owners: tuple[Any, TokenOwners] | None = None
        self._changing: set[asyncio.Future[Any]] = set()
        self._handlers: tuple[tuple[str, re.Pattern[str], Handler], ...] = tuple(
            (method, re.compile(pattern), handler) for method, pattern, handler in (
                ("GET", "/admin/?", self._index),
                ("GET", "/admin/config", self._config),
                ("PATCH", "/admin/config", self._patch),
                ("GET", "/admin/services", self._services),
                ("PATCH", "/admin/services/([^/]+)", self._patch_service),
                ("GET", "/admin/sources", self._sources),
                ("GET", "/admin/mirrors", self._mirrors),
                ("GET", "/admin/shared", self._shared),
                ("GET", "/admin/fleet", self._fleet),
                ("POST", "/admin/fleet", self._withdraw),
                ("GET", "/admin/routes", self._routes),
                ("PUT", "/admin/routes", self._put_routes),
                ("GET", "/admin/commands", self._commands),
                ("GET", "/admin/commands/([^/]+)", self._command),
                ("POST", "/admin/commands/([^/]+)", self._order),
                ("GET", "/admin/workers", self._workers),
                ("POST", "/admin/reload", self._reload),
            ))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        path = scope["raw_path"].decode("latin-1")  # a slash in a name is percent-encoded
        try:
            who = self._allowed(headers, scope)
            handler, names = self._handler(scope["method"], path)
            caller = _Caller(f"{who} from {_peer(scope)}", _is_for_fleet(scope))
            if scope["method"] == "GET":
                result = await handler(*names)
            else:
                work = handler(*names, await _body(headers, receive), caller)
                result = await self._done(work, f"{scope['method']} {path} by {caller.name}")
        except Problem as problem:
            await respond_problem(send, problem)
            return
        except ConfigFileError as error:
            await respond_problem(send, Problem(422, "; ".join(map(str, error.mistakes))))
            return
        except ConfigError as error:
            await respond_problem(send, Problem(422, str(error)))
            return
        except NoFleetError as error:
            await respond_problem(send, Problem(503, str(error)))
            return
        await respond(send, 200, result)

    async def _done(self, work: Awaitable[Any], what: str) -> Any:
        """The result of a change, which is made and logged to its end, whether or not its client waits for it."""

        async def made() -> Any:
            result = await work
            _logger.warning("%s", what)
            return result

        job = asyncio.ensure_future(made())
        self._changing.add(job)
        job.add_done_callback(self._ended)
        return await asyncio.shield(job)

    def _ended(self, job: asyncio.Future[Any]) -> None:
        self._changing.discard(job)
        if not job.cancelled():
            job.exception()  # which whoever waits is told of

    # -- who may

    def _allowed(self, headers: dict[str, str], scope: Scope) -> str:
        """The name of the token that a request has."""
        admin = self._supervisor.config.admin
        tokens = {} if admin is None else admin.tokens
        if not tokens:
            raise Problem(404, "the admin API is off; tokens in the [admin] table of the file switch it on")
        if self._owners is None or self._owners[0] is not tokens:
            self._owners = tokens, TokenOwners(tokens)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            raise Problem(403, "a page of another origin may not use the admin API")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        who = self._owners[1].owner(token.strip().encode("latin-1")) if scheme.lower() == "bearer" else None
        if who is None:
            if scheme:
                _logger.warning("a request to the admin API from %s had no valid token", _peer(scope))
            raise Problem(401, "the admin API needs a token: Authorization: Bearer TOKEN", headers=[_CHALLENGE])
        return who

    def _handler(self, method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
        allowed = []
        for known, pattern, handler in self._handlers:
            found = pattern.fullmatch(path)
            if found is not None:
                if known == method:
                    return handler, tuple(map(unquote, found.groups()))
                allowed.append(known)
        if allowed:
            raise Problem(405, f"this path has no {method}", headers=[(b"allow", ", ".join(allowed).encode())])
        raise Problem(404, "there is no such path in the admin API; GET /admin/ lists them")

    # -- looking

    async def _index(self) -> Any:
        return {"paths": [f"{method} {pattern.pattern.replace('([^/]+)', '{name}').replace('/?', '/')}"
                          for method, pattern, _ in self._handlers]}

    async def _config(self) -> Any:
        async with self._supervisor.unchanged:
            return {"file": self._supervisor.file, "changed_by_api": self._supervisor.is_changed,
                    "config": shown(self._supervisor.data)}

    async def _services(self) -> Any:
        await self._supervisor.statistics.collect("rolling")
        async with self._supervisor.unchanged:
            services = shown(self._supervisor.data.get("services", {}))
            states: dict[str, dict[str, Any]] = {name: {} for name in services}
            for command in self._supervisor.statistics.commands:
                name = command.key.partition("@")[0]
                if name in states:
                    states[name][command.key] = _brief(command.snapshot())
            return {name: {"config": services[name], "commands": states[name]} for name in services}

    async def _sources(self) -> Any:
        return await self._supervisor.statistics.asked("sources")

    async def _mirrors(self) -> Any:
        return await self._supervisor.statistics.asked("mirrors")

    async def _shared(self) -> Any:
        return await self._supervisor.statistics.asked("shared")

    async def _fleet(self) -> Any:
        return await self._supervisor.fleet.report()

    async def _routes(self) -> Any:
        async with self._supervisor.unchanged:
            return shown(self._supervisor.data.get("routes", []))

    async def _commands(self) -> Any:
        await self._supervisor.statistics.collect("rolling")
        return {command.key: _brief(command.snapshot()) for command in self._supervisor.statistics.commands}

    async def _command(self, key: str) -> Any:
        await self._supervisor.statistics.collect("rolling")
        command = self._supervisor.statistics.commands.get(key)
        if command is None:
            raise Problem(404, f"there is no command {key!r}")
        return command.snapshot().as_dict()

    async def _workers(self) -> Any:
        return {
            "wanted": self._supervisor.number_of_workers,
            "reloads": self._supervisor.reloads,
            "workers": [
                {"number": number, "pid": worker.pid, "listens": worker.is_ready, "answers": not worker.is_silent,
                 "deaths": self._supervisor.restarts[number].total}
                for number, worker in sorted(self._supervisor.workers.items())],
        }

    # -- changing

    async def _patch(self, body: Any, caller: _Caller) -> Any:
        check_patch(body)
        return await self._said(caller, things_of(body) if caller.to_fleet else {},
                                lambda: self._change(lambda data: merged(data, body)))

    async def _patch_service(self, name: str, body: Any, caller: _Caller) -> Any:
        if name not in self._supervisor.data.get("services", {}):
            raise Problem(404, f"there is no service {name!r}")
        return await self._patch({"services": {name: body}}, caller)

    async def _put_routes(self, body: Any, caller: _Caller) -> Any:
        return await self._patch({"routes": body}, caller)

    async def _said(self, caller: _Caller, things: dict[str, Any], apply: Callable[[], Awaitable[Any]]) -> Any:
        """Do what an operator says, and tell the fleet if it is for all of it."""
        return await (self._supervisor.fleet.say(things, caller.name, apply) if caller.to_fleet else apply())

    async def _change(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        await self._supervisor.change(change, _WHAT)
        return {"applied": True, "until": "the file is reloaded or the gateway is restarted"}

    async def _order(self, key: str, body: Any, caller: _Caller) -> Any:
        order = body.get("order") if isinstance(body, dict) else None
        if not isinstance(order, str):
            raise Problem(422, 'the body is {"order": "force_open"}, force_closed, release or reset')

        async def apply() -> Any:
            await self._supervisor.steer(key, order)
            return await self._command(key)

        return await self._said(caller, order_of(key, order), apply)

    async def _withdraw(self, body: Any, caller: _Caller) -> Any:
        thing = body.get("withdraw") if isinstance(body, dict) else None
        if not isinstance(thing, str):
            raise Problem(422, 'the body is {"withdraw": "services/NAME"}, or "routes"')
        await self._supervisor.fleet.withdraw(thing, caller.name)
        return {"withdrawn": thing}

    async def _reload(self, body: Any, caller: _Caller) -> Any:
        if caller.to_fleet:
            raise Problem(422, "every gateway has a file of its own; reload each by itself")
        await self._supervisor.reload()
        return {"applied": True}


@attrs.frozen
class _Caller:
    """Whoever uses the API.

    Attributes:
        name: Whose token it is, and where the request came from.
        to_fleet: Whether it is said to all gateways of the fleet.
    """

    name: str
    to_fleet: bool


def _is_for_fleet(scope: Scope) -> bool:
    """Whether the query says so.

    Raises:
        Problem: It says something else.
    """
    said = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True).get("fleet", ["false"])
    if said not in (["true"], ["false"]):
        raise Problem(422, "fleet must be true or false")
    return said == ["true"]


def _brief(snapshot: Any) -> dict[str, Any]:
    return {"state": snapshot.state.value, "reason": snapshot.reason, "requests": snapshot.requests,
            "errors": snapshot.errors, "rate": snapshot.rate, "in_flight": snapshot.in_flight,
            "p50_s": snapshot.latency.p50, "p99_s": snapshot.latency.p99}


def _peer(scope: Scope) -> str:
    return str((scope.get("client") or ("an unknown address",))[0])


async def _body(headers: dict[str, str], receive: Receive) -> Any:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    content, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Problem(400, "the body did not arrive")
        content, more = content + message.get("body", b""), message.get("more_body", False)
        if len(content) > _MOST_BYTES:
            raise Problem(413, f"the body is larger than {_MOST_BYTES} bytes", close=True)
    if kind not in ("application/json", "application/merge-patch+json"):
        raise Problem(415, "the admin API takes application/json only")
    try:
        return json.loads(content or b"null", parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)
