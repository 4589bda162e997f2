"""RedisRegistrar: registers an instance in Redis, where RedisSource finds it; redis_instances.py says how it lies.

Only an instance that is UP lies there: with another status it is taken away, and comes back.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from .one_line import one_line
from .redis_instances import PREFIX, check_names, instance_key, server_name, set_key, written
from .registrant import InstanceStatus, Registrant, instance_of

#: Sets the lease; and of a few IDs by chance those are taken away that have none, so that the set stays small. What
#: somebody else has made something of another type gives way, for as long as it is there nobody could register.
#: Returns what was there, if it was another instance.
_RENEW: Final = """
local before = redis.pcall('GET', KEYS[2])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'set' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
redis.call('SADD', KEYS[1], ARGV[3])
for _, id in ipairs(redis.call('SRANDMEMBER', KEYS[1], 10)) do
    if redis.call('EXISTS', KEYS[1] .. ':' .. id) == 0 then redis.call('SREM', KEYS[1], id) end
end
return type(before) == 'string' and before ~= ARGV[1] and before
"""
_log = logging.getLogger("resilience")


class RedisRegistrar:
    """Registers in Redis; see Registrar. Needs redis-py."""

    def __init__(self, url: str, *, prefix: str = PREFIX) -> None:
        """A registrar; nothing is connected to yet.

        Args:
            url: Of the server, such as "redis://redis-1:6379/0"; its name and password are used.
            prefix: Begins each key.

        Raises:
            ConfigError: The URL has a mistake.
            ImportError: There is no redis-py.
        """
        import redis  # noqa: F401 - takes a while, which is better spent now

        check_names("any", prefix)
        self._url, self._prefix, self._name = url, prefix, server_name(url)
        self._is_contested = False

    def __repr__(self) -> str:
        return f"Redis {self._name}"

    def register(self, registrant: Registrant, status: InstanceStatus, lease_s: float, timeout_s: float) -> None:
        """Register the instance; see Registrar.

        Args:
            registrant: The instance.
            status: What it says of itself.
            lease_s: Seconds.
            timeout_s: The longest that this may take.
        """
        if status is not InstanceStatus.UP:
            self.leave(registrant, timeout_s)
            return
        self._put(registrant, lease_s, timeout_s)  # what was there before may be what this process has been

    def renew(self, registrant: Registrant, status: InstanceStatus, lease_s: float, timeout_s: float) -> bool:
        """Extend the lease; see Registrar. An instance that Redis has lost is there again.

        Args:
            registrant: The instance.
            status: What it says of itself.
            lease_s: Seconds.
            timeout_s: The longest that this may take.
        """
        if status is not InstanceStatus.UP:
            self.leave(registrant, timeout_s)
            return True
        other = self._put(registrant, lease_s, timeout_s)
        if other and not self._is_contested:
            self._is_contested = True
            _log.warning("%s: another process registers with %r by the same instance ID: %s; whoever has renewed last "
                         "is listed", registrant.name, self, one_line(other))
        return True

    def leave(self, registrant: Registrant, timeout_s: float) -> None:
        """Give the lease back; see Registrar.

        Args:
            registrant: The instance.
            timeout_s: The longest that this may take.
        """
        with self._client(timeout_s) as client, client.pipeline() as pipeline:
            pipeline.delete(instance_key(self._prefix, registrant.app, registrant.name))
            pipeline.srem(set_key(self._prefix, registrant.app), registrant.name)
            pipeline.execute()

    def _put(self, registrant: Registrant, lease_s: float, timeout_s: float) -> Any:
        """Write the instance; the other one that was there, if one was."""
        keys = set_key(self._prefix, registrant.app), instance_key(self._prefix, registrant.app, registrant.name)
        with self._client(timeout_s) as client:
            return client.eval(_RENEW, 2, *keys, written(instance_of(registrant)),
                               f"{max(1, round(lease_s * 1000))}", registrant.name)

    def _client(self, timeout_s: float) -> Any:
        """A client for one question: there are few, and a connection that is kept may have died meanwhile."""
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return Redis.from_url(self._url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s,
                              retry=Retry(NoBackoff(), 0))
