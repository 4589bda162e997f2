"""Over HTTP/2, RST_STREAM followed an early answer at once: curl 7.88 then told of a broken stream, and of no status."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from tests.gateway.front.test_http2 import POST, raw

from .gateway_parts import configured, served, upstream

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"


async def forbids(head: bytes, writer: asyncio.StreamWriter) -> None:
    """Answer, and take no more of the body."""
    writer.write(FORBIDDEN)
    await asyncio.Event().wait()


def test_curl_gets_the_status_of_a_gateway_and_of_a_service_that_answer_early(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "body"
        with file.open("wb") as made:
            made.truncate(20_000_000)
        async with upstream(forbids) as url:
            for service, status in (({"max_body": 1_000_000}, b"413"), ({"max_body": 1_000_000_000}, b"403")):
                async with served(configured({"endpoints": [url], **service})) as (_, front):
                    done = await asyncio.to_thread(subprocess.run, [
                        "curl", "-s", "--http2-prior-knowledge", "-T", str(file), "-o", "/dev/null", "-w", "%{http_code}",
                        f"http://127.0.0.1:{front.port}/y"], capture_output=True, timeout=20, check=False)
                    assert (0, status) == (done.returncode, done.stdout)

    asyncio.run(main())


def test_a_request_that_was_answered_early_holds_no_permit_while_its_body_still_comes() -> None:
    async def main() -> None:
        async with upstream(forbids) as url:
            single = {"endpoints": [url], "command": {"max_concurrent": {"max_concurrent": 1, "max_wait": 0.0}}}
            async with served(configured(single)) as (gateway, front):
                client = await raw(front)
                for _ in range(3):  # none of them ever ends its body
                    assert (403, b"no") == await client.answer(client.ask(POST, bytes(9000), ends=False))
                    assert 0 == gateway.registry["up"].snapshot().in_flight

    asyncio.run(main())
