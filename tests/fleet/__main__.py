"""``make fleet``: a long history of faults that coincide. Its end says what clients saw."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from .chaos import Chaos
from .fleet import Fleet
from .network import Network, is_possible


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fleet", description=__doc__)
    parser.add_argument("--steps", type=int, default=40, help="steps of the history (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="which history (default: another one each time)")
    parser.add_argument("--registries", type=int, default=3, help="how many there are, as peers (default: %(default)s)")
    options = parser.parse_args()
    if not is_possible():
        print("network namespaces cannot be made here: this needs Linux, `ip` (package iproute2) and root", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="resilience-fleet-") as folder, Network() as network:
        fleet = Fleet.usual(network, Path(folder), registries=options.registries)
        fleet.until_well()
        print(f"seed {options.seed}", flush=True)
        began = time.monotonic()
        fates = Chaos(fleet, options.seed, lambda text: print(f"{time.monotonic() - began:7.1f} s {text}", flush=True)).run(options.steps)
        fleet.stop()
    print("attempts  " + ", ".join(f"{name}: {count}" for name, count in sorted(fates.items())))
    print("no client was told of an error")
    return 0


if __name__ == "__main__":
    sys.exit(main())
