"""A real gRPC server of bytes: a service "shop.Stock" whose answers are what the requests ask for."""

from __future__ import annotations

import concurrent.futures
import threading

import grpc

CODES = {code.name.encode(): code for code in grpc.StatusCode}


class Server:
    """On a port of loopback; /hang/ waits until ``go`` is set, or the caller leaves.

    Attributes:
        target: Its address.
        calls: Requests so far.
        ended: Released once for each RPC that ended, however it did.
    """

    def __init__(self):
        self.go, self.calls, self.ended = threading.Event(), [], threading.Semaphore(0)
        self.hanging = threading.Semaphore(0)
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Stock", {
            "Get": grpc.unary_unary_rpc_method_handler(self._get),
            "List": grpc.unary_stream_rpc_method_handler(self._list),
            "Sum": grpc.stream_unary_rpc_method_handler(self._sum),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat)})])
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self):
        self.go.set()
        self._server.stop(None).wait()

    def _do(self, what, context):
        """One word of a request: a status code, "pushback", "hang", or what is to be answered."""
        if what == b"pushback":
            context.set_trailing_metadata([("grpc-retry-pushback-ms", "1500")])
            context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        elif what == b"hang":
            left = threading.Event()
            context.add_callback(left.set)
            self.hanging.release()
            while not (left.is_set() or self.go.wait(0.01)):
                pass
        elif what in CODES and what != b"OK":
            context.abort(CODES[what], "as asked")
        return what

    def _get(self, request, context):
        context.add_callback(self.ended.release)
        self.calls.append(request)
        return self._do(request, context)

    def _list(self, request, context):
        context.add_callback(self.ended.release)
        self.calls.append(request)
        for word in request.split():
            yield self._do(word, context)

    def _sum(self, requests, context):
        context.add_callback(self.ended.release)
        words = list(requests)
        self.calls.append(b" ".join(words))
        return b" ".join(self._do(word, context) for word in words)

    def _chat(self, requests, context):
        context.add_callback(self.ended.release)
        self.calls.append(b"chat")
        for word in requests:
            yield self._do(word, context)


class Stub:
    """What protoc would write."""

    def __init__(self, channel):
        self.Get = channel.unary_unary("/shop.Stock/Get")
        self.List = channel.unary_stream("/shop.Stock/List")
        self.Sum = channel.stream_unary("/shop.Stock/Sum")
        self.Chat = channel.stream_stream("/shop.Stock/Chat")
