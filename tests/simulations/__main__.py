"""Simulate a fleet: ``python -m tests.simulations [SECTION ...] [--instances N]``; writes build/fleet.json.

Sections that are not named keep the figures that the file has of them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from .figures import PAGE, SECTIONS, sizes

OUT = Path("build/fleet.json")


def main() -> None:
    """Make the sections that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"one of: {', '.join(SECTIONS)}; none: all")
    parser.add_argument("--instances", type=int, default=PAGE, metavar="N",
                        help="of each simulated service; there are twice as many gateways (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="where to write (default: %(default)s)")
    options = parser.parse_args()
    for name in options.sections:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}; there are {', '.join(SECTIONS)}")
    for name in options.sections or SECTIONS:
        began = time.process_time()
        made = SECTIONS[name](sizes(options.instances))
        kept = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
        kept[name] = made
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {time.process_time() - began:.0f} s", flush=True)  # noqa: T201 - it is a program


if __name__ == "__main__":
    main()
