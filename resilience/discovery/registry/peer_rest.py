"""What other registries ask: batches of changes, digests, and copies of what is different. Pure: told the time.

    POST peerreplication/batch      Eureka's own: renewals, registrations, statuses and leavings, at most 250
    GET peerreplication/digest      who this is, and the digest of each part of its table
    GET peerreplication/copies      all that is known of the first of some parts, and how many these are

The last two are ours, and so is the member "resilience" of the items of a batch. Of a registry of another make, items
mean what they mean in Eureka: the rules are those of the requests that clients send, with the header of a replication.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from .claims import ClaimRefusedError, Claims, source_of
from .copies import Copies, Merged
from .entry import Form
from .instance import LEASE_DURATION_S, Instance, InvalidInstanceError
from .instance_copy import MEMBER, InstanceCopy, instance_in
from .instance_reading import status_of, timestamp_of, upper
from .instance_registry import InstanceRegistry
from .lease_table import PARTS, Key, part_of
from .moment import Moment
from .refusal import RefusedError
from .request import Answer, Parts, Request

#: Items of a batch, as in Netflix's server.
MOST_ITEMS: Final = 250
#: Parts that are asked for at a time.
MOST_PARTS: Final = 16
#: An answer that has more bytes of instances is sent without further parts; to make it takes 10 ms.
MOST_COPIES_BYTES: Final = 1 << 20
Replied = tuple[int, Mapping[str, Any] | None, Mapping[str, Any] | None]
_Handler = Callable[[Mapping[str, Any], Key, Request, Moment], Replied]


class PeerRest:
    """The part of the protocol that registries speak with each other.

    Args:
        registry: Has the instances.
        claims: What instances may claim that another registry sends which is not known.
    """

    def __init__(self, registry: InstanceRegistry, claims: Claims) -> None:
        self._registry, self._claims, self._copies = registry, claims, Copies(registry)
        self._actions: dict[str, _Handler] = {
            "Heartbeat": self._renewed, "Register": self._registered, "Cancel": self._left,
            "StatusUpdate": self._overridden, "DeleteStatusOverride": self._override_removed}

    def batch(self, request: Request, now: Moment, parts: Parts) -> Answer:
        """The answer to a batch: one for each of its items."""
        try:
            said = json.loads(request.body)
            items = said["replicationList"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidInstanceError('the body must be {"replicationList": [...]}') from None
        if not isinstance(items, list) or len(items) > MOST_ITEMS:
            raise InvalidInstanceError(f"replicationList must have at most {MOST_ITEMS} items")
        return _json({"responseList": [self._answered(each, request, now) for each in items]})

    def digest(self, request: Request, now: Moment, parts: Parts) -> Answer:
        """Who this is, and what it has."""
        registry = self._registry
        return _json({"registry": registry.name, "complete": registry.is_complete, "instances": len(registry),
                      "digests": [f"{each:016x}" for each in registry.table.digests]})

    def copies(self, request: Request, now: Moment, parts: Parts) -> Answer:
        """All that is known of some parts of the table."""
        asked = [each for each in request.fields().get("parts", "").split(",") if each]
        if len(asked) > MOST_PARTS or not all(each.isdecimal() and len(each) < 4 and int(each) < PARTS
                                              for each in asked):
            raise InvalidInstanceError(f"parts must be at most {MOST_PARTS} numbers below {PARTS}, with commas")
        table, told, texts, size = self._registry.table, set[int](), list[bytes](), 0
        for part in sorted(set(map(int, asked))):
            if size >= MOST_COPIES_BYTES:
                break
            of_part = [_with_instance(InstanceCopy.of(lease, now), lease.current_entry().text(Form.JSON))
                       for lease in table.of_part(part)]
            told.add(part)
            texts += of_part
            size += sum(map(len, of_part))
        texts += [_with_instance(InstanceCopy.of_left(key, grave, now), b"null")
                  for key, grave in table.left.items() if part_of(key) in told]
        return Answer(200, b'{"parts":%d,"copies":[%b]}' % (len(told), b",".join(texts)), _HEADERS)

    # -- items

    def _answered(self, item: Any, request: Request, now: Moment) -> dict[str, Any]:
        try:
            if not isinstance(item, Mapping):
                raise InvalidInstanceError("an item must be an object")
            handler = self._actions.get(str(item.get("action")))
            if handler is None:
                raise InvalidInstanceError(f"action must be one of {', '.join(self._actions)}")
            key = upper(_text(item, "appName")), _text(item, "id")
            merge = self._merged if MEMBER in item else handler
            status, entity, copy = merge(item, key, request, now)
        except InvalidInstanceError as error:
            self._registry.counts["refused_malformed"] += 1
            return {"statusCode": 400, "error": str(error)}
        except ClaimRefusedError as error:
            self._registry.counts["refused_claim"] += 1
            return {"statusCode": 403, "error": str(error)}
        except RefusedError as error:
            self._registry.counts[f"refused_{error.reason}"] += 1
            return {"statusCode": error.status, "error": error.detail}
        self._registry.counts["replicated"] += 1
        found: dict[str, Any] = {"statusCode": status}
        if entity is not None:
            found["responseEntity"] = entity
        if copy is not None:
            found[MEMBER] = copy
        return found

    def _merged(self, item: Mapping[str, Any], key: Key, request: Request, now: Moment) -> Replied:
        """One of a registry like this one."""
        copy, said = InstanceCopy.read(item[MEMBER]), item.get("instanceInfo")
        if copy.key != key:
            raise InvalidInstanceError("a copy must be of the instance of its item")
        instance = None
        if said is not None and not copy.has_left:
            instance = self._instance(said, request, now)
            if (instance.app, instance.id) != key:
                raise InvalidInstanceError("instanceInfo must be of the instance of its item")
        if copy.has_left and not request.is_peer:
            copy = attrs.evolve(copy, duration_s=min(copy.duration_s, LEASE_DURATION_S))
        source = copy.source if request.is_peer and copy.source else source_of(request.peer)
        merged = self._copies.merge(copy, instance, source, now)
        if Merged.MISSING in merged:
            return 404, None, None
        return self._conflict(key, now) if Merged.OLDER in merged else (200, None, None)

    def _instance(self, said: Any, request: Request, now: Moment) -> Instance:
        found: Instance = instance_in(said, now, self._registry.settings.max_lease)
        if not request.is_peer:
            self._claims.check(found, request.is_local)
        return found

    def _conflict(self, key: Key, now: Moment) -> Replied:
        """What is newer here."""
        copy, lease = self._copies.copy(*key, now), self._registry.lease(*key)
        entity = None if lease is None else json.loads(lease.current_entry().text(Form.JSON))
        return 409, entity, None if copy is None else copy.said_json()

    def _renewed(self, item: Mapping[str, Any], key: Key, request: Request, now: Moment) -> Replied:
        status = renewed_elsewhere(self._registry, key, _timestamp(item), now)
        return (200, None, None) if status == 200 else (404, None, None) if status == 404 else \
            (409, self._conflict(key, now)[1], None)

    def _registered(self, item: Mapping[str, Any], key: Key, request: Request, now: Moment) -> Replied:
        instance = self._instance(item.get("instanceInfo"), request, now)
        if (instance.app, instance.id) != key:
            raise InvalidInstanceError("instanceInfo must be of the instance of its item")
        self._registry.register(instance, source_of(request.peer), now, replication=True)
        return 200, None, None

    def _left(self, item: Mapping[str, Any], key: Key, request: Request, now: Moment) -> Replied:
        return (200 if self._registry.cancel(*key, now, replication=True) else 404), None, None

    def _overridden(self, item: Mapping[str, Any], key: Key, request: Request, now: Moment) -> Replied:
        found = self._registry.override(*key, _status(item), _timestamp(item), now, replication=True)
        return (200 if found else 404), None, None

    def _override_removed(self, item: Mapping[str, Any], key: Key, request: Request, now: Moment) -> Replied:
        found = self._registry.remove_override(*key, _status(item), _timestamp(item), now, replication=True)
        return (200 if found else 404), None, None


def renewed_elsewhere(registry: InstanceRegistry, key: Key, dirty_ms: int, now: Moment) -> int:
    """Renew an instance, as another registry says, by Eureka's rules.

    Returns:
        200; 404 if the other registry should register it; 409 if it should take what is here.
    """
    if not registry.renew(*key, now, replication=True) or registry.has_changed(*key, dirty_ms, now):
        return 404
    lease = registry.lease(*key)
    return 409 if lease is not None and 0 < dirty_ms < lease.entry.instance.dirty_ms else 200


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise InvalidInstanceError(f"{name} must be a name")
    return value


def _timestamp(item: Mapping[str, Any]) -> int:
    value = item.get("lastDirtyTimestamp")
    return 0 if value is None or isinstance(value, bool) else timestamp_of(str(value))


def _status(item: Mapping[str, Any]) -> str:
    return status_of(str(item.get("status") or "UNKNOWN"))


def _with_instance(copy: InstanceCopy, instance: bytes) -> bytes:
    return b'{"%b":%b,"instance":%b}' % (MEMBER.encode(), json.dumps(copy.said_json()).encode(), instance)


_HEADERS: Final[Sequence[tuple[bytes, bytes]]] = [(b"content-type", b"application/json")]


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode(), _HEADERS)
