"""All tests: ``python -m tests [arguments of pytest]``.

Without arguments there are three processes, if there are two processors, and each has about a third of the work. Many
tests wait for other programs, so two processes would leave a third of the processors' time unused. The output of the
second and the third comes at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import Final

#: What the second and the third process run; the first one runs the rest.
BESIDE: Final = tuple([f"tests/{name}" for name in names] for names in (
    ("issues", "engine", "core", "config", "decorate"),
    ("browser", "cli", "docs", "integrations", "scenarios", "simulations", "testing", "metrics", "dashboard", "policies")))


def main(arguments: list[str]) -> int:
    """Run the tests, and give pytest's status."""
    pytest = [sys.executable, "-m", "pytest"]
    if arguments or (os.cpu_count() or 1) < 2:
        return subprocess.call([*pytest, *arguments])
    with ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in BESIDE]
        beside = [stack.enter_context(subprocess.Popen([*pytest, *names], stdout=output, stderr=output))
                  for names, output in zip(BESIDE, outputs, strict=True)]
        try:
            status = subprocess.call([*pytest, *(f"--ignore={each}" for names in BESIDE for each in names)])
            for each, output in zip(beside, outputs, strict=True):
                status = each.wait() or status
                output.seek(0)
                sys.stdout.write(output.read().decode(errors="replace"))
        except BaseException:
            for each in beside:
                each.terminate()
            raise
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
