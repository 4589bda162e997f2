"""gunicorn, the application loaded before the fork: each worker has locks, threads and statistics of its own."""

import collections
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from tests.drivers.until import until

APPLICATION = '''
import json, os, threading
from resilience import CircuitBreaker, RateLimit, Retry, command, default_registry

for_ever = threading.Event()

@command(key="stock", timeout=60.0, max_concurrent=2, retry=Retry(), rate_limit=RateLimit(1000), breaker=CircuitBreaker())
def stock(sku):
    if sku == "hang":
        for_ever.wait()
    return threading.current_thread().name

stock("in the parent")
threading.Thread(target=stock, args=("hang",), daemon=True).start()  # holds a slot and a thread of the parent's
while not stock.resilience.in_flight:
    pass

def application(environ, start_response):
    stock("in a worker")
    snapshot = stock.resilience.snapshot()
    answer = {"pid": os.getpid(), "success": snapshot.counts["success"], "in_flight": snapshot.in_flight,
              "abandoned": snapshot.abandoned, "threads": stock.resilience.pool.threads, "state": str(snapshot.state)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
'''


@pytest.fixture
def gunicorn(tmp_path):
    """A running gunicorn with two workers: its process and its address."""
    (tmp_path / "prefork_application.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"fd://{listener.fileno()}",
             "--graceful-timeout", "5", "--chdir", str(tmp_path), "--worker-tmp-dir", str(tmp_path),
             "prefork_application:application"],
            pass_fds=[listener.fileno()], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            yield process, f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def test_each_worker_counts_its_own_calls_and_none_waits_for_the_parent(gunicorn):
    process, address = gunicorn
    calls, deadline = collections.Counter(), time.monotonic() + 60

    def ask():
        answer = json.loads(requests.get(address, timeout=30, headers={"Connection": "close"}).content)
        calls[answer["pid"]] += 1
        assert (calls[answer["pid"]], 0, 0) == (answer["success"], answer["in_flight"], answer["abandoned"])
        assert ("closed", True) == (answer["state"], 1 <= answer["threads"] <= 2)
        return answer["pid"]

    while len(calls) < 2 or min(calls.values()) < 3:
        ask()
        assert time.monotonic() < deadline
    assert process.pid not in calls

    killed = ask()
    os.kill(killed, signal.SIGKILL)  # one of our own process's children; another is forked from the same parent
    before = set(calls)
    while set(calls) == before:
        ask()
        assert time.monotonic() < deadline

    process.terminate()
    until(lambda: process.poll() is not None, 30)
    assert 0 == process.returncode, process.stderr.read()
