"""10,000 routes beside one: what they add to a request that goes over the wire.

The routes are mixed: whole paths, templates with parameters and wildcards, hosts, and predicates. The same requests go
to a gateway with all of them and to one with a single route for everything, in turn. Measured is the CPU time of the
gateway's processes, least of some rounds.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

import attrs

from .processes import pinned, tool, two_cores
from .proxies import upstreams, workplace
from .report import Gate, Section, Table
from .serving import Serving, serving

ROUTES = 10_000
ADDED_US = 10.0
CONNECTIONS = 16
ASKED = 1_000  # different requests

_SERVICE = """
[services.all]
endpoints = %s
command = { max_concurrent = 100 }
"""
_ONE = """
[[routes]]
path = "/*"
service = "all"
"""
_LUA = """
local asked = {}
for line in io.lines("%s") do
  local path, host, header = line:match("([^\\t]*)\\t([^\\t]*)\\t([^\\t]*)")
  local headers = {["Host"] = host}
  if header ~= "" then headers["X-Kind"] = header end
  asked[#asked + 1] = wrk.format("GET", path, headers)
end
local turn = 0
request = function()
  turn = turn %% #asked + 1
  return asked[turn]
end
done = function(summary, latency, requests)
  local errors = summary.errors
  local bad = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('\\n{"requests": %%d, "bad": %%d}\\n', summary.requests, bad))
end
"""


@attrs.frozen(kw_only=True)
class Route:
    """A route's own lines in the file, and a request for it: path, host and the header X-Kind, which may be empty."""

    lines: str
    request: tuple[str, str, str]

    @classmethod
    def numbered(cls, number: int) -> Route:
        """One of five kinds."""
        at, host = f"/area{number % 100}/thing{number}", "gateway.example"
        match number % 5:
            case 0:
                return cls(lines=f'path = "{at}"', request=(at, host, ""))
            case 1:
                return cls(lines=f'path = "{at}/{{id:int}}/parts/{{part}}"', request=(f"{at}/{number}/parts/a", host, ""))
            case 2:
                return cls(lines=f'path = "{at}/*"', request=(f"{at}/some/way/below", host, ""))
            case 3:
                own = f"host{number % 500}.example"
                return cls(lines=f'path = "{at}/*"\nhost = "{own}"', request=(f"{at}/x", own, ""))
            case _:
                lines = f'path = "{at}/{{id}}"\nmethods = ["GET"]\nheaders = {{ X-Kind = "k{number}" }}'
                return cls(lines=lines, request=(f"{at}/7", host, f"k{number}"))


def run(*, seconds: int, repeat: int) -> Section:
    """Compare the two gateways in *repeat* rounds of *seconds* each."""
    client_core, proxy_core = two_cores()
    tool("wrk")
    with ExitStack() as stack:
        return _compare(stack, client_core, proxy_core, seconds, repeat)


def _compare(stack: ExitStack, client_core: int, proxy_core: int, seconds: int, repeat: int) -> Section:
    directory = stack.enter_context(workplace())
    up = stack.enter_context(upstreams(client_core))
    service = _SERVICE % json.dumps([f"http://127.0.0.1:{port}" for port in up.healthy])
    routes = [Route.numbered(number) for number in range(ROUTES)]
    many = "".join(f'\n[[routes]]\nservice = "all"\n{route.lines}\n' for route in routes)
    gateways = {
        "1 route": stack.enter_context(serving(service + _ONE, proxy_core)),
        f"{ROUTES:,} routes": stack.enter_context(serving(service + many, proxy_core, path=routes[0].request[0], start_s=60.0)),
    }
    script = _script(directory, [route.request for route in routes[:: ROUTES // ASKED + 1]])
    costs: dict[str, list[float]] = {name: [] for name in gateways}
    notes = []
    for gateway in gateways.values():
        _load(gateway, client_core, script, 1)
    for _ in range(repeat):
        for name, gateway in gateways.items():
            cost, bad = _load(gateway, client_core, script, seconds)
            costs[name].append(cost)
            if bad:
                notes.append(f"{name}: {bad} bad answers")
    (one, of_one), (all_, of_all) = costs.items()
    rows = [(name, min(found), sorted(found)[len(found) // 2], gateways[name].usage.memory_mib())
            for name, found in costs.items()]
    table = Table(title="CPU time of the gateway per request", columns=("", "us", "(median)", "MiB"), rows=rows)
    gate = Gate(what=f"{all_} / {one}, added", measured=min(of_all) - min(of_one), bound=ADDED_US, unit="us")
    return Section(name="routes", tables=[table], gates=[gate], notes=notes)


def _script(directory: Path, requests: list[tuple[str, str, str]]) -> Path:
    asked = directory / "requests.txt"
    asked.write_text("".join("\t".join(each) + "\n" for each in requests), encoding="utf-8")
    script = directory / "requests.lua"
    script.write_text(_LUA % asked, encoding="utf-8")
    return script


def _load(gateway: Serving, core: int, script: Path, seconds: int) -> tuple[float, int]:
    """Microseconds of CPU time per request, and how many bad answers there were."""
    url = f"http://127.0.0.1:{gateway.port}/"
    command = [tool("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url]
    before = gateway.usage.busy_s()
    done = subprocess.run(pinned(core, command), capture_output=True, text=True, check=True, timeout=seconds + 30)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return (gateway.usage.busy_s() - before) / found["requests"] * 1e6, found["bad"]
