"""Items of a batch for a peer, and what its answers mean. Pure.

A registry like this one is sent its copy of the instance with each item; one of another make what Eureka has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from .change import Change
from .copies import Copies, Merged
from .entry import Form
from .instance import UNKNOWN, InvalidInstanceError
from .instance_copy import MEMBER, InstanceCopy, instance_in
from .instance_registry import InstanceRegistry
from .lease import Lease
from .lease_table import Key
from .moment import Moment
from .peer_queue import Pending


class PeerAnswerError(Exception):
    """A peer answers with what is no answer."""


@attrs.frozen
class Item:
    """One item of a batch.

    Attributes:
        key: Application and instance.
        action: In Eureka's words.
        text: In JSON.
    """

    key: Key
    action: str
    text: bytes


def items_of(registry: InstanceRegistry, pending: Pending, now: Moment, *, is_ours: bool) -> Iterator[Item]:
    """What to send of an instance, as it is now; nothing, if its lease has run out or was evicted.

    Args:
        registry: Has it.
        pending: What the peer has not heard of.
        now: The time.
        is_ours: Whether the peer is a registry like this one.
    """
    key, change = pending.key, pending.change
    lease = registry.lease(*key)
    if lease is None:
        grave = registry.table.left.any(*key)
        if grave is not None:
            yield _item(key, "Cancel", {}, InstanceCopy.of_left(key, grave, now) if is_ours else None)
        return
    copy = InstanceCopy.of(lease, now) if is_ours else None
    if change == Change.RENEWED:
        if lease.ends_s > now.s:
            yield _item(key, "Heartbeat", _said(lease), copy)
    elif is_ours or Change.OPERATED not in change or Change.REGISTERED in change:
        yield _item(key, "Register", _said(lease), copy, lease.current_entry().text(Form.JSON))
    if Change.OPERATED in change and not is_ours:
        action = "DeleteStatusOverride" if lease.override is None else "StatusUpdate"
        yield _item(key, action, {**_said(lease), "status": lease.override or lease.entry.instance.status})


def body_of(items: Sequence[Item]) -> bytes:
    """The body of a batch."""
    return b'{"replicationList":[%b]}' % b",".join([each.text for each in items])


def _said(lease: Lease) -> dict[str, Any]:
    instance = lease.entry.instance
    return {"lastDirtyTimestamp": instance.dirty_ms, "overriddenStatus": lease.override or UNKNOWN,
            "status": instance.status}


def _item(key: Key, action: str, said: Mapping[str, Any], copy: InstanceCopy | None = None,
          instance: bytes | None = None) -> Item:
    found = {"appName": key[0], "id": key[1], **said, "action": action}
    if copy is not None:
        found[MEMBER] = copy.said_json()
    text = json.dumps(found).encode()
    return Item(key, action, text if instance is None else b'%b,"instanceInfo":%b}' % (text[:-1], instance))


def answers_in(body: bytes, count: int) -> Sequence[Mapping[str, Any]]:
    """The answers to the items of a batch.

    Raises:
        PeerAnswerError: They are not so many answers.
    """
    try:
        found = json.loads(body)["responseList"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PeerAnswerError(f"its answer to a batch is none ({type(error).__name__})") from None
    if not isinstance(found, list) or len(found) != count or not all(
            isinstance(each, Mapping) and isinstance(each.get("statusCode"), int) for each in found):
        raise PeerAnswerError(f"its answer to a batch of {count} has no status for each item")
    return found


class PeerSays:
    """What a peer says of instances, taken into the registry as far as it is newer.

    Args:
        registry: Gets it.
        source: Stands for the address that has registered an instance, if the peer does not say.
    """

    def __init__(self, registry: InstanceRegistry, source: str) -> None:
        self._registry, self._source, self._copies = registry, source, Copies(registry)

    def copy(self, said: Any, instance: Any, now: Moment) -> tuple[Key, Merged]:
        """Merge a copy: whose it is, and what has become of it.

        Raises:
            InvalidInstanceError: It is none.
            RefusedError: It may not be here.
        """
        copy, found = InstanceCopy.read(said), None
        if not copy.has_left:
            found = instance_in(instance, now, self._registry.settings.max_lease)
            if (found.app, found.id) != copy.key:
                raise InvalidInstanceError("a copy must be of its instance")
        return copy.key, self._copies.merge(copy, found, copy.source or self._source, now)

    def instance(self, said: Any, now: Moment) -> bool:
        """Take an instance of a registry of another make; whether it is newer than what is here.

        Raises:
            InvalidInstanceError: It is none.
            RefusedError: It may not be here.
        """
        found = instance_in(said, now, self._registry.settings.max_lease)
        lease = self._registry.lease(found.app, found.id)
        if lease is not None and lease.entry.instance.dirty_ms >= found.dirty_ms:
            return False
        self._registry.register(found, self._source, now, replication=True)
        return True
