"""An interpreter that ends while guarded calls are under way: it ends, and says nothing."""

import subprocess
import sys

import pytest

BEGINNING = """
import asyncio, threading
import resilience
from resilience import AdaptiveLimit, Chaos, RateLimit, Registry, Retry, command, default_registry

for_ever, began = threading.Event(), threading.Event()

def hang():
    began.set()
    for_ever.wait()

"""

ENDINGS = {
    "a worker hangs, and its caller has given up": """
guarded = command(timeout=0.01)(hang)
while not began.is_set():  # one that no worker took in time never begins
    try:
        guarded()
    except (resilience.CallTimeoutError, resilience.BulkheadFullError):
        pass
""",
    "a worker hangs, and so does its caller, a daemon": """
threading.Thread(target=command(timeout=None, isolation="thread")(hang), daemon=True).start()
began.wait()
""",
    "workers are idle": """
quick = command(timeout=10.0)(len)
assert [3] * 20 == [quick("abc") for _ in range(20)]
""",
    "calls wait in the pool's queue": """
guarded = command(isolation="thread", timeout=60.0, pool=resilience.ThreadPool(size=1, max_queue=5))(hang)
for _ in range(3):
    threading.Thread(target=guarded, daemon=True).start()
began.wait()
while guarded.resilience.pool.admitted < 3:
    pass
""",
    "the registry was closed while a worker hangs": """
guarded = command(timeout=0.01)(hang)
while not began.is_set():
    try:
        guarded()
    except (resilience.CallTimeoutError, resilience.BulkheadFullError):
        pass
default_registry.close()
try:
    guarded()
except resilience.RejectedError:
    pass
else:
    raise AssertionError
""",
    "a coroutine is left in its retry's pause, another in its rate limit's line": """
@command(retry=Retry(base=1000.0, max_delay=1000.0, jitter="none"))
async def failing():
    raise OSError

@command(rate_limit=RateLimit(1, per=3600.0, burst=1, max_wait=36000.0))
async def limited(): ...

async def main():
    await limited()
    tasks = [asyncio.create_task(failing()), asyncio.create_task(limited())]
    while failing.resilience.snapshot().counts["retry"] < 1:
        await asyncio.sleep(0)

asyncio.run(main())
""",
    "a thread is in its retry's pause": """
@command(timeout=None, retry=Retry(base=1000.0, max_delay=1000.0, jitter="none"))
def failing():
    raise OSError

threading.Thread(target=failing, daemon=True).start()
while failing.resilience.snapshot().counts["retry"] < 1:
    pass
""",
    "a thread waits in an adaptive limit's queue": """
@command(timeout=None, adaptive_limit=AdaptiveLimit(initial=1, min_limit=1, max_limit=1, max_queue=5, max_queue_for=3600.0))
def limited():
    hang()

for _ in range(2):
    threading.Thread(target=limited, daemon=True).start()
began.wait()
""",
    "a file is watched": """
import pathlib, tempfile
with tempfile.TemporaryDirectory() as directory:
    file = pathlib.Path(directory, "resilience.toml")
    file.write_text("[defaults]\\ntimeout = 2.0\\n")
    resilience.configure(file, watch=True)
""",
    "generators are half consumed": """
@command
def numbers():
    yield from range(10)

@command
async def async_numbers():
    for number in range(10):
        yield number

kept = numbers()
next(kept)

async def main():
    global kept_too
    kept_too = async_numbers()
    await anext(kept_too)

asyncio.run(main())
""",
    "a finalizer calls a guarded function": """
quick = command(timeout=None)(len)

class Last:
    def __del__(self):
        assert 3 == quick("abc")

last = Last()
last.itself = last  # a cycle, which only the interpreter's end takes apart
""",
    "a finalizer calls a guarded function, and a daemon thread ended where it held a lock": """
from resilience.registry import table_of

by_length = threading.by_length = command(key=lambda word: f"length-{len(word)}", timeout=None)(len)  # outlives this module
within = {"lock": table_of(default_registry).lock, "began": began, "for_ever": for_ever}
exec('''def hold():  # of another module: this one's objects would stay with it
    with lock:
        began.set()
        for_ever.wait()''', within)

class Last:
    def __del__(self):
        assert 3 == by_length("abc")
        assert 1 == len(list(default_registry))

last = Last()
threading.Thread(target=within["hold"], daemon=True).start()
began.wait()
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_ends_at_once_and_in_silence(ending):
    done = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", BEGINNING + ENDINGS[ending]],
                          capture_output=True, text=True, timeout=60)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
