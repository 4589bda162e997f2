"""Python's interactive prompt on a pseudo-terminal, for a reader who pastes line after line."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

_PROMPT = re.compile(rb"(?:^|\n)(>>> |\.\.\. )$")
_ECHO = re.compile(r"(>>> |\.\.\. )")
_TIMEOUT_S = 60.0


class Repl:
    """One session of ``python`` or ``python -m asyncio``; a context manager that ends it."""

    def __init__(self, *arguments, folder):
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (50, 2000))  # no line is wrapped or scrolled
        environ = dict(os.environ, TERM="dumb", PYTHON_BASIC_REPL="1", PYTHONPATH=os.pathsep.join([str(folder), *sys.path]))
        environ.pop("PYTHONSTARTUP", None)
        self._process = subprocess.Popen(
            [sys.executable, *(arguments or ("-i", "-q"))], stdin=slave, stdout=slave, stderr=slave, cwd=folder,
            env=environ, start_new_session=True)
        os.close(slave)

    def __enter__(self):
        self._until_prompt()
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def paste(self, block):
        """Type the lines of *block* and Enter once more; returns the lines that were printed."""
        printed = []
        for line in [*block.splitlines(), ""]:
            os.write(self._master, line.encode() + b"\n")
            # What the terminal echoes stands in the first line, the next prompt in the last.
            printed += self._until_prompt().splitlines()[1:-1]
        return printed

    def _until_prompt(self):
        read, end = b"", time.monotonic() + _TIMEOUT_S
        while not _PROMPT.search(read):
            if not select.select([self._master], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutError(f"no prompt within {_TIMEOUT_S:g} s, but {read.decode()!r}")
            read += os.read(self._master, 65536)
        return read.decode().replace("\r", "")
