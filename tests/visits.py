"""A call at every line of the machines, as a signal handler or a finalizer may make one in the middle of their work."""

import sys
import threading

_MACHINES = ("/resilience/core/", "/resilience/metrics/")
#: What checks the settings of a machine, and has no state that a call in from within could meet.
_CHECKS = ("/checks.py", "/plain_numbers.py", "/callable_identity.py")


class _Visit:
    """A trace function that calls *visitor* at the *n*-th line of our code, as a signal handler would be."""

    def __init__(self, n, visitor):
        self.left, self.visitor = n, visitor

    def __call__(self, frame, event, _):
        file = frame.f_code.co_filename
        if not any(part in file for part in _MACHINES) or file.endswith(_CHECKS):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                self.visitor()
        return self


def visited(work, visitor, before=lambda: None):
    """Run *work* with *visitor* called at its first line, its second, ...; yields after each run.

    What comes *before* each time is not visited.
    """
    n = 0
    while True:
        n += 1
        visit = _Visit(n, visitor)
        failures = []

        def body(visit=visit, failures=failures):
            try:
                before()
                sys.settrace(visit)
                work()
            except BaseException as failure:
                failures.append(failure)
            finally:
                sys.settrace(None)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), f"it hangs when visited at line {n}"
        if failures:
            raise failures[0]
        yield n
        if visit.left > 0:
            return
