"""The REST protocol of Eureka: from a request to an answer. Pure: told the time.

Both base paths are served, /eureka/v2 and /eureka, with and without a slash at the end. What is not found has no body:
there are clients that take any body for an instance.

JSON is for whoever asks for it by ``Accept``; all others get XML, as the protocol wants it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import attrs

from .bodies import registration
from .claims import ClaimRefusedError, Claims, source_of
from .documents import Document, Documents, of_instance, of_some
from .entry import Entry
from .instance import UNKNOWN, InvalidInstanceError
from .instance_reading import instance_of, metadata_text, name_mistake, status_of, timestamp_of, upper
from .instance_registry import InstanceRegistry
from .moment import Moment
from .peer_rest import PeerRest, renewed_elsewhere
from .refusal import RefusedError
from .request import Answer, Header, Parts, Request

BASES: Final = ("/eureka/v2", "/eureka")
Handler = Callable[[Request, Moment, Parts], Answer]
#: What a registry that has just started does not answer: clients would take what is missing for gone.
_LISTS: Final = ("apps", "vips", "svips")
_NOT_FOUND: Final = Answer(404)
_OK: Final = Answer(200)
_logger = logging.getLogger(__name__)


def text_answer(status: int, text: str, *headers: Header) -> Answer:
    """An answer in plain text."""
    return Answer(status, f"{text}\n".encode(), [(b"content-type", b"text/plain; charset=utf-8"), *headers])


class RestApi:
    """The protocol, on a registry.

    Args:
        registry: Has the instances.

    Attributes:
        claims: What instances may claim.
    """

    def __init__(self, registry: InstanceRegistry) -> None:
        self._registry, self._documents = registry, Documents()
        self.claims = Claims(registry.settings.instance_networks)
        peers = PeerRest(registry, self.claims)
        # By the parts of a path below its base, of which * is any, and by method; the first that fits.
        self._routes: dict[Parts, dict[str, Handler]] = {
            ("apps",): {"GET": self._all},
            ("apps", "delta"): {"GET": self._delta},
            ("apps", "*"): {"GET": self._application, "POST": self._register},
            ("apps", "*", "*"): {"GET": self._instance, "PUT": self._renew, "DELETE": self._cancel},
            ("apps", "*", "*", "status"): {"PUT": self._override, "DELETE": self._remove_override},
            ("apps", "*", "*", "metadata"): {"PUT": self._metadata},
            ("instances", "*"): {"GET": self._instance_by_id},
            ("vips", "*"): {"GET": self._vip},
            ("svips", "*"): {"GET": self._secure_vip},
            ("asg", "*", "status"): {"PUT": self._no_group},
            ("serverinfo", "statusoverrides"): {"GET": self._overrides},
            ("status",): {"GET": self._status},
            ("peerreplication", "batch"): {"POST": peers.batch},
            ("peerreplication", "digest"): {"GET": peers.digest},
            ("peerreplication", "copies"): {"GET": peers.copies},
        }

    def answer(self, request: Request, now: Moment) -> Answer | None:
        """The answer to a *request*; None: its path is not below a base of the protocol."""
        parts = below_base(request.path)
        if parts is None:
            return None
        known = self._known(parts)
        if known is None:
            return _NOT_FOUND
        handler = known.get("GET" if request.method == "HEAD" else request.method)
        if not self._registry.is_complete and request.method in ("GET", "HEAD") and parts[0] in _LISTS \
                and len(parts) < 3:
            return text_answer(403, "this registry has just started, and does not have the others' instances yet")
        if handler is None:
            return Answer(405, headers=[(b"allow", ", ".join(known).encode())])
        try:
            return handler(request, now, parts)
        except InvalidInstanceError as error:
            self._registry.counts["refused_malformed"] += 1
            return text_answer(400, str(error))
        except ClaimRefusedError as error:
            self._registry.counts["refused_claim"] += 1
            return text_answer(403, str(error))
        except RefusedError as error:
            self._registry.counts[f"refused_{error.reason}"] += 1
            return text_answer(error.status, error.detail)

    def _known(self, parts: Parts) -> dict[str, Handler] | None:
        for pattern, handlers in self._routes.items():
            if len(pattern) == len(parts) and all(
                    wanted in ("*", part) for wanted, part in zip(pattern, parts, strict=True)):
                return handlers
        return None

    # -- looking

    def _all(self, request: Request, now: Moment, parts: Parts) -> Answer:
        return _document(request, self._documents.full(self._registry.snapshot(), request.form))

    def _delta(self, request: Request, now: Moment, parts: Parts) -> Answer:
        return _document(request, self._documents.delta(self._registry.snapshot(), request.form))

    def _application(self, request: Request, now: Moment, parts: Parts) -> Answer:
        document = self._documents.application(self._registry.snapshot(), upper(parts[1]), request.form)
        return _NOT_FOUND if document is None else _document(request, document)

    def _instance(self, request: Request, now: Moment, parts: Parts) -> Answer:
        lease = self._registry.lease(upper(parts[1]), parts[2])
        return _NOT_FOUND if lease is None else _document(request, of_instance(lease.current_entry(), request.form))

    def _instance_by_id(self, request: Request, now: Moment, parts: Parts) -> Answer:
        entry = self._registry.snapshot().by_id.get(parts[1])
        return _NOT_FOUND if entry is None else _document(request, of_instance(entry, request.form))

    def _vip(self, request: Request, now: Moment, parts: Parts) -> Answer:
        return _some(request, self._registry.snapshot().by_vip.get(parts[1]))

    def _secure_vip(self, request: Request, now: Moment, parts: Parts) -> Answer:
        return _some(request, self._registry.snapshot().by_secure_vip.get(parts[1]))

    def _overrides(self, request: Request, now: Moment, parts: Parts) -> Answer:
        return _json(self._registry.overrides())

    def _status(self, request: Request, now: Moment, parts: Parts) -> Answer:
        return _json({"generalStats": {"num-of-instances": str(len(self._registry))}, "applicationStats": {
            "registered-replicas": "", "available-replicas": "", "unavailable-replicas": ""}})

    # -- instances

    def _register(self, request: Request, now: Moment, parts: Parts) -> Answer:
        mistake = name_mistake(parts[1])
        if mistake is not None:
            raise InvalidInstanceError(f"the application's name {mistake}")
        said = registration(request.body, request.header(b"content-type"))
        instance = instance_of(said, parts[1], now.unix_ms, self._registry.settings.max_lease)
        if not (request.is_replication and request.is_peer):
            self.claims.check(instance, request.is_local)
        self._registry.register(instance, source_of(request.peer), now, replication=request.is_replication)
        return Answer(204)

    def _renew(self, request: Request, now: Moment, parts: Parts) -> Answer:
        app, identity = upper(parts[1]), parts[2]
        dirty_ms = timestamp_of(request.fields().get("lastDirtyTimestamp", ""))
        if request.is_replication:
            status = renewed_elsewhere(self._registry, (app, identity), dirty_ms, now)
            lease = self._registry.lease(app, identity)
            if status == 409 and lease is not None:
                return attrs.evolve(_document(request, of_instance(lease.current_entry(), request.form)), status=409)
            return Answer(status)
        lease = self._registry.lease(app, identity)
        if not self._registry.renew(app, identity, now):
            return _NOT_FOUND
        if lease is not None and lease.contest(dirty_ms, source_of(request.peer)):
            _logger.warning(
                "%s %s, which was registered from %s, is also renewed from %s: two processes register with one "
                "instance ID, and only the last one is listed", app, identity, lease.source, request.peer)
        return _NOT_FOUND if self._registry.has_changed(app, identity, dirty_ms, now) else _OK

    def _cancel(self, request: Request, now: Moment, parts: Parts) -> Answer:
        found = self._registry.cancel(upper(parts[1]), parts[2], now, replication=request.is_replication)
        return _OK if found else _NOT_FOUND

    def _metadata(self, request: Request, now: Moment, parts: Parts) -> Answer:
        pairs = dict(metadata_text(name, value) for name, value in request.fields().items())
        found = self._registry.update_metadata(
            upper(parts[1]), parts[2], pairs, now, replication=request.is_replication)
        return _OK if found else _NOT_FOUND

    # -- operators

    def _override(self, request: Request, now: Moment, parts: Parts) -> Answer:
        return self._set_override(self._registry.override, request, now, parts, "")

    def _remove_override(self, request: Request, now: Moment, parts: Parts) -> Answer:
        return self._set_override(self._registry.remove_override, request, now, parts, UNKNOWN)

    def _set_override(self, change: Callable[..., bool], request: Request, now: Moment,
                      parts: Parts, default: str) -> Answer:
        app, identity, fields = upper(parts[1]), parts[2], request.fields()
        if self._registry.lease(app, identity) is None:
            return _NOT_FOUND
        try:
            status = status_of(fields.get("value") or default)
        except InvalidInstanceError:
            if self._registry.settings.original_defects:
                return Answer(500)
            raise
        dirty_ms = timestamp_of(fields.get("lastDirtyTimestamp", ""))
        found = change(app, identity, status, dirty_ms, now, replication=request.is_replication)
        return _OK if found else _NOT_FOUND

    def _no_group(self, request: Request, now: Moment, parts: Parts) -> Answer:
        return text_answer(400, "there are no auto-scaling groups here")


def below_base(path: str) -> Parts | None:
    """The parts of a *path* below the base of the protocol, unquoted; None: it is not below one.

    Parts are told apart before they are unquoted, so that an id may have a slash, as %2F.
    """
    base = next((each for each in BASES if path == each or path.startswith(f"{each}/")), None)
    if base is None:
        return None
    parts = path[len(base):].strip("/").split("/")
    return tuple(unquote(part, errors="replace") for part in parts)


def raw_path(path: bytes) -> str:
    """A path as sent, for Request; bytes that are not ASCII are quoted, as they should have been."""
    target = path.decode("latin-1")
    return "".join(each if each.isascii() else f"%{ord(each):02X}" for each in target)


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode(), [(b"content-type", b"application/json")])


def _some(request: Request, entries: Mapping[str, Sequence[Entry]] | None) -> Answer:
    return _NOT_FOUND if not entries else _document(request, of_some(entries, request.form))


def _document(request: Request, document: Document) -> Answer:
    headers: list[Header] = [(b"content-type", request.form.media_type.encode()),
                             (b"vary", b"accept-encoding, accept, x-eureka-accept")]
    if takes_gzip(request.header(b"accept-encoding")):
        return Answer(200, document.compressed, [*headers, (b"content-encoding", b"gzip")])
    return Answer(200, document.plain, headers)


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip, by its Accept-Encoding."""
    for part in accept_encoding.lower().split(","):
        name, _, parameters = part.partition(";")
        if name.strip() in ("gzip", "x-gzip", "*"):
            weight = parameters.replace(" ", "")
            return weight not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
