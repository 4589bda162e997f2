"""A server that answers each POST with JSON, or with events if it is asked for a stream, as services of LLMs do."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def llm_service(answer, events):
    """Serve on a port of its own.

    Args:
        answer: Given the server: the value that is the answer's JSON.
        events: Given that value: the text of the stream.
    """

    class Service(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            value = answer(self.server)
            kind, body = ("text/event-stream", events(value)) if asked.get("stream") else (
                "application/json", json.dumps(value))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
