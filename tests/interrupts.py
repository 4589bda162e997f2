"""KeyboardInterrupt at every point of our code where CPython may raise one.

A signal handler runs where the interpreter looks for pending signals: after a
call, at the start of a function, after a jump backwards. ``interrupted`` runs a
piece of work once for each such point and raises there, at the instruction that
follows. A NOP is passed over: a loop may begin with one that is in no handler's
range, but where CPython raises it asks for the handler of the instruction before.
"""

import dis
import sys

_LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")


class _Strike:
    """A trace function that raises at the *n*-th point of our code."""

    def __init__(self, n, error):
        self.left, self.error, self.last = n, error, {}

    def __call__(self, frame, event, _):
        filename = frame.f_code.co_filename
        if not filename.startswith("<resilience") and "/resilience/" not in filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and dis.opname[frame.f_code.co_code[frame.f_lasti]] != "NOP":
            before = self.last.get(frame)
            self.last[frame] = frame.f_lasti
            if before is not None and dis.opname[frame.f_code.co_code[before]].startswith(_LOOKS):
                self.left -= 1
                if self.left == 0:
                    raise self.error
        elif event in ("return", "exception"):  # it does not look after a call that raised
            self.last.pop(frame, None)
        return self


def _forget(_):
    """What strikes while something is collected is swallowed by CPython, and told; pytest would keep it, and its frames."""


def interrupted(work, error=KeyboardInterrupt, every=1):
    """Run *work* again and again, struck at its first point, its second, ... until it ends unharmed.

    Yields after each run the number of its point, for the caller to look at what is left. With *every*, only so many
    points apart: for work that is long, and whose parts other tests strike at each point.
    """
    n = -every  # the first run is harmless: Python 3.12 traces a function's instructions from its second run on
    while True:
        n += every
        strike, before, told = _Strike(n, error), sys.gettrace(), sys.unraisablehook
        sys.unraisablehook = _forget
        sys.settrace(strike)
        try:
            work()
        except error:
            pass
        finally:
            sys.settrace(before)
            strike.last.clear()  # frames, and with them what the interrupt left: Python 3.13 warns of an asend() not awaited
            sys.unraisablehook = told
        yield n
        if n and strike.left > 0:
            return
