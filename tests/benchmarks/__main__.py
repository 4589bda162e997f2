"""``python -m tests.benchmarks [SECTION ...]``: the library beside its peers, as ratios.

Sections: ``calls`` (overhead of a decorated call), ``policies`` (each of the others),
``items`` (of an item of a generator), ``collapse`` (of a call that goes into a batch), ``memory`` (per command),
``stream`` (one tick of the metrics stream), ``http_clients`` (a request through a guarded
client), ``adaptive`` (a simulation of the adaptive limit), ``gateway`` (throughput of one core),
``half_load`` (latency that it adds), ``sick`` (a sick neighbour), ``bodies`` (of 1 GiB), ``event_streams`` (how late
paced events come), ``long_lived`` (10,000 idle connections and WebSockets), ``scrapes`` (what a request waits for
statistics), ``routes`` (10,000 of them) and ``shared_limits`` (what a rate limit of several gateways adds).
Without any, all are run. A peer or tool that is not installed is named and left out. Exit status is 0 even when a bound is
missed, unless ``--strict``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from . import report
from .processes import NotAvailable

SECTIONS = ("calls", "policies", "items", "collapse", "memory", "stream", "http_clients", "adaptive", "gateway",
            "half_load", "sick", "bodies", "event_streams", "long_lived", "scrapes", "routes",
            "shared_limits")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    about = (__doc__ or "").partition("\n\n")[2]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=about)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"any of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=60, help="interleaved rounds of the sections that time calls (60)")
    parser.add_argument("--commands", type=int, default=5000, help="commands of the memory and stream sections (5000)")
    parser.add_argument("--seconds", type=int, default=1, help="length of one round against a proxy, whole seconds (1)")
    parser.add_argument("--repeat", type=int, default=8, help="interleaved rounds against each proxy (8)")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where the results go")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a bound is missed")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; choose from {', '.join(SECTIONS)}")
    return arguments


def _runner(section: str, arguments: argparse.Namespace) -> Callable[[], report.Section]:
    run: Callable[..., report.Section] = import_module(f".{section}", __package__).run
    if section in ("calls", "policies", "items", "collapse", "http_clients"):
        return lambda: run(rounds=arguments.rounds)
    if section in ("memory", "stream"):
        return lambda: run(commands=arguments.commands)
    return lambda: run(seconds=arguments.seconds, repeat=arguments.repeat)


def _found(section: str, arguments: argparse.Namespace) -> report.Section:
    try:
        return _runner(section, arguments)()
    except NotAvailable as error:
        return report.Section(name=section, notes=[str(error)])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections asked for, print them as they finish, write the JSON."""
    arguments = _arguments(argv)
    environment = report.environment()
    print(", ".join(f"{key} {value}" for key, value in environment.items() if key != "versions"), end="\n\n")
    found: list[report.Section] = []
    for section in arguments.sections or SECTIONS:
        found.append(_found(section, arguments))
        print(found[-1], flush=True)
    missed = report.missed(found)
    gates = [gate for section in found for gate in section.gates]
    print(f"{len(gates) - len(missed)} of {len(gates)} bounds kept; results in {arguments.json}")
    report.write_json(arguments.json, found, environment)
    return 1 if missed and arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
