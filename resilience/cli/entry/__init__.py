"""What the command ``resilience`` runs first; it is installed as ``resilience_command``, a name of its own.

The library takes a third of a second to import, and a module in one of its packages would be found only after that.
Meanwhile a signal that asks what serves for something must not end it, so this imports nothing of the library before.
"""

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Be ready for signals, and run the command line; see cli.main()."""
    try:
        if sys.argv[1:2] in (["gateway"], ["registry"]):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
            for ignored in (signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(ignored, signal.SIG_IGN)
        from resilience import cli
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()
