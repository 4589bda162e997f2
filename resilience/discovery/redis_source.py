"""RedisSource: the instances of a service that have a lease in Redis; redis_instances.py says how they lie there.

One listing is two round trips: the IDs, and what each of them says, both bounded. Each has a connection of its own,
which costs little a few times a minute, and leaves none to be closed, or to be shared with a forked child.
A Redis that has been wiped lists nobody, and then those few that have renewed their leases. Neither empties a set
(membership.py).
"""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from .instance import Instance
from .redis_instances import MAX_BYTES, PREFIX, check_names, instance_in, instance_key, server_name, set_key
from .source import MAX_INSTANCES, Listing


class RedisSource:
    """Lists what has a lease in Redis; see Source. Needs redis-py."""

    def __init__(self, app: str, url: str, *, prefix: str = PREFIX, timeout_s: float = 5.0) -> None:
        """A source; nothing is connected to yet.

        Args:
            app: Name of the service.
            url: Of the server, such as "redis://redis-1:6379/0", or "rediss://..." for TLS; its name and password are
                used.
            prefix: Begins each key.
            timeout_s: Longest wait for a connection, and for an answer.

        Raises:
            ConfigError: The URL has a mistake.
            ImportError: There is no redis-py.
        """
        import redis.asyncio  # noqa: F401 - takes a while, which is better spent now

        check_names(app, prefix)
        self._app, self._url, self._prefix, self._timeout_s = app, url, prefix, timeout_s
        self._name = f"Redis {server_name(url)}, instances of {app}"

    def __repr__(self) -> str:
        return self._name

    async def listing(self) -> Listing:
        """The instances whose leases last.

        Raises:
            redis.exceptions.RedisError: The server cannot be asked, or the keys are something else.
        """
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        async with Redis.from_url(self._url, socket_timeout=self._timeout_s, socket_connect_timeout=self._timeout_s,
                                  retry=Retry(NoBackoff(), 0)) as client:
            return await self._listing(client)

    async def _listing(self, client: Any) -> Listing:
        from redis.exceptions import ResponseError

        answer = await client.srandmember(set_key(self._prefix, self._app), 2 * MAX_INSTANCES + 1)
        names = sorted(each.decode(errors="replace") if isinstance(each, bytes) else each for each in answer)
        if len(names) > 2 * MAX_INSTANCES:
            raise ValueError(f"{set_key(self._prefix, self._app)} has more than {2 * MAX_INSTANCES} IDs; SREM those "
                             "that have no string any more, as RedisRegistrar does when it renews")
        if not names:
            return Listing((), is_leased=True)
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.getrange(instance_key(self._prefix, self._app, name), 0, MAX_BYTES)
        instances, mistakes = list[Instance](), list[str]()
        for name, content in zip(names, await pipeline.execute(raise_on_error=False), strict=True):
            if not content:
                continue  # its lease is over
            if isinstance(content, ResponseError):  # it is no string
                mistakes.append(f"{name[:100]}: it cannot be read: {content}")
                continue
            if isinstance(content, Exception):
                raise content
            try:
                instances.append(instance_in(content if isinstance(content, bytes) else content.encode()))
            except ConfigError as error:
                mistakes.append(f"{name[:100]}: {error}")
        return Listing(tuple(instances), tuple(mistakes), is_leased=True)
