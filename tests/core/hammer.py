"""Many threads at once, switched as often as the interpreter can."""

import sys
import threading


def hammer(*works, threads=4):
    """Run every one of *works* in so many threads; whatever one of them raises is raised here."""
    barrier, failures = threading.Barrier(threads * len(works)), []

    def body(work):
        try:
            barrier.wait(10)
            work()
        except BaseException as failure:
            failures.append(failure)

    crowd = [threading.Thread(target=body, args=(work,)) for work in works for _ in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert not any(thread.is_alive() for thread in crowd)
    if failures:
        raise failures[0]
