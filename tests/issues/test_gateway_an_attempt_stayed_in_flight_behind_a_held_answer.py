"""An attempt that the deadline ended after another answer was held back stayed in flight at its endpoint for ever."""

from __future__ import annotations

import asyncio

from .gateway_parts import asked, configured, served, upstream


def test_an_endpoint_that_stalled_until_the_deadline_has_nothing_in_flight_when_a_held_answer_was_passed_on() -> None:
    async def main() -> None:
        heads = list[bytes]()

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            writer.write(b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\n" + (b"held" if len(heads) == 1 else b"no"))

        async with upstream(script) as one, upstream(script) as other:
            config = configured({"endpoints": [one, other, "http://127.0.0.1:9"], "deadline": 0.3, "retry": {"attempts": 3}})
            async with served(config) as (gateway, front):
                assert b"503 " in await front.ask(asked())
                assert [0, 0, 0] == [each.in_flight for each in gateway.services["up"].endpoints.states]
                assert 2 <= len(heads)

    asyncio.run(main())
