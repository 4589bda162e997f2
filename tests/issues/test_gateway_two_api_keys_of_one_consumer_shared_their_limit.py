"""A rate limit by API key counted the consumer, so that one key of a consumer spent what the others had."""

from __future__ import annotations

import asyncio
import hashlib

from .gateway_parts import OK, asked, configured, served, upstream

_KEYS = [{"id": key, "sha256": hashlib.sha256(f"{key}.secret".encode()).hexdigest(), "consumer": "ann"} for key in ("old", "new")]


def test_each_key_has_a_limit_of_its_own_and_the_consumer_one_of_all_its_keys() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async def statuses(by: str) -> list[bytes]:
        async with upstream(answer) as url:
            config = configured({"endpoints": [url]}, gateway={"filters": ["keys", "limit"]}, filters={
                "keys": {"use": "api_keys", "keys": _KEYS},
                "limit": {"use": "rate_limit", "rate": 2, "per": 3600.0, "by": [by]}})
            async with served(config) as (_, front):
                return [(await front.ask(asked("/x", f"X-API-Key: {key}.secret")))[9:12]
                        for key in ("old", "old", "new", "old", "new", "new")]

    assert [b"200", b"200", b"200", b"429", b"200", b"429"] == asyncio.run(statuses("api_key"))
    assert [b"200", b"200", b"429", b"429", b"429", b"429"] == asyncio.run(statuses("identity"))
