"""Filters for a gateway in a process of its own."""

import asyncio

import attrs

from resilience.gateway import endpoint_filter, inbound_filter, outbound_filter


@attrs.frozen
class _Tag:
    value: str
    times: int = 1

    def __call__(self, context):
        for _ in range(self.times):
            context.request.headers.add("x-tag", self.value)


Tag = _Tag = inbound_filter(_Tag)


@inbound_filter(time_limit=0.05)
async def hangs(context):
    await asyncio.Event().wait()


@outbound_filter(time_limit=30.0)
async def waits(context):
    await asyncio.Event().wait()


@endpoint_filter
async def hello(context):
    context.answer(200, f"hello {context.request.path}")


@outbound_filter
def stamp(context):
    context.response.headers["x-stamp"] = f"{context.response.status} {context.response.is_ours}"


@outbound_filter(body=1000, when=lambda context: not context.response.is_ours)
def shout(context):
    context.response.body = context.response.body.upper()


@inbound_filter(body=100)
def reverse(context):
    context.request.body = context.request.body[::-1]


def plain(context):
    """No filter."""
