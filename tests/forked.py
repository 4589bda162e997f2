"""Work in a forked child."""

import os
import traceback
import warnings


def forked(work):
    """The exit status of a forked child that does *work*: 0, or 1 if that raises, and it prints what."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads, which are there on purpose
        pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - a child must not go on as a second run of the tests
        traceback.print_exc()
    finally:
        os._exit(status)
