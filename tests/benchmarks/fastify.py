"""@fastify/http-proxy, which npm installs into a cache directory when it is first measured."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from .processes import NotAvailable, tool
from .proxies import Proxy, Upstreams

_PACKAGES = {"fastify": "^5", "@fastify/http-proxy": "^11"}

_SERVER_JS = """
const [port, healthy] = process.argv.slice(2)
const fastify = require('fastify')({ logger: false })
const proxy = require('@fastify/http-proxy')
fastify.register(proxy, { upstream: healthy, prefix: '/api', rewritePrefix: '/api' })
fastify.listen({ host: '127.0.0.1', port: Number(port) })
"""


def _fastify(upstreams: Upstreams, port: int, directory: Path) -> list[str]:
    node, home = tool("node"), _fastify_home()
    server = home / "server.cjs"
    server.write_text(_SERVER_JS, encoding="utf-8")
    return [node, str(server), str(port), f"http://127.0.0.1:{upstreams.healthy[0]}"]


def _fastify_home() -> Path:
    """The cache directory that holds the node packages; filled by npm on first use."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "resilience-bench" / "fastify"
    if not (home / "node_modules" / "@fastify" / "http-proxy").is_dir():
        home.mkdir(parents=True, exist_ok=True)
        manifest = {"name": "resilience-bench", "private": True, "dependencies": _PACKAGES}
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


NODE = Proxy(name="@fastify/http-proxy", start=_fastify)
