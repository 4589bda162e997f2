"""All tests: ``python -m tests [arguments of pytest]``.

Without arguments there are two processes, if there are two processors, and each has about half of the work: those of the
library's core, the registry, the page and all faults run beside those of the gateway, the fleet and the clients. Their
output comes at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Final

#: What the second process runs.
BESIDE: Final = [f"tests/{name}" for name in (
    "config", "core", "engine", "decorate", "policies", "metrics", "testing", "issues", "dashboard", "discovery",
    "browser")]


def main(arguments: list[str]) -> int:
    """Run the tests, and give pytest's status."""
    pytest = [sys.executable, "-m", "pytest"]
    if arguments or (os.cpu_count() or 1) < 2:
        return subprocess.call([*pytest, *arguments])
    with tempfile.TemporaryFile() as output, subprocess.Popen([*pytest, *BESIDE], stdout=output, stderr=output) as beside:
        try:
            status = subprocess.call([*pytest, *(f"--ignore={each}" for each in BESIDE)])
            status = beside.wait() or status
        except BaseException:
            beside.terminate()
            raise
        output.seek(0)
        sys.stdout.write(output.read().decode(errors="replace"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
