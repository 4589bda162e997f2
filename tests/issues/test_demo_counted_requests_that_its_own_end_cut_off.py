"""The demo's closing table showed requests as answered otherwise that the demo itself had cut off by ending."""

import asyncio
import contextlib

from resilience.demo.traffic import Traffic


def test_what_is_under_way_at_the_end_is_no_answer():
    async def main():
        asked, over, hanging = asyncio.Event(), asyncio.Event(), set()

        async def hang(reader, writer):
            hanging.add(asyncio.current_task())
            await reader.readline()
            asked.set()
            await over.wait()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        traffic = Traffic({"stock": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        running = asyncio.create_task(traffic.run())
        await asyncio.wait_for(asked.wait(), 30.0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        over.set()
        await asyncio.wait(hanging, timeout=30.0)
        server.close()
        await server.wait_closed()
        return traffic.routes["stock"].statuses

    assert {} == asyncio.run(main())
