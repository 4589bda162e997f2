"""The ``resilience`` command: demo, gateway, registry, check, api-key and dashboard.

Every long-running command prints the URLs to open, stops cleanly on SIGINT and
SIGTERM, and exits non-zero with one clear line on a bad argument, a bad file or
a taken port. What needs the ``gateway`` extra is imported when it is used.

Output that nobody takes, as behind ``head``, ends what prints only. What serves goes on.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from .._version import __version__
from ..errors import ConfigError
from . import check, output, values

#: What shells give as the status of a program that SIGINT has ended.
_INTERRUPTED: Final = 130
#: The same of one that SIGPIPE has ended.
_READER_LEFT: Final = 141


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    output.hold_standard_streams()
    try:
        try:
            options = _parser().parse_args(argv)
            status = options.run(options)
        finally:
            output.show(end="")  # of what argparse prints, too, it is known now whether it was written
        sys.exit(status)
    except KeyboardInterrupt:  # before it is ready, or while it reads a file
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(_READER_LEFT)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("resilience"):
            output.fail(f"{error.name} is missing: this installation of resilience-commands is not whole; install it "
                        "again")
        output.fail(f"{error.name} is not installed; this command needs the gateway extra: "
                    "pip install 'resilience-commands[gateway]'")
    except (ConfigError, OSError, ValueError) as error:
        output.fail(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="resilience", description="The gateway, the service registry and the dashboard of the resilience library.")
    parser.add_argument("--version", action="version", version=f"resilience {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, arguments, summary, more in (
        ("demo", _demo, _demo_arguments, "services that break, the gateway in front, and the dashboard",
         "Everything listens on 127.0.0.1; the terminal says what happens."),
        ("gateway", _gateway, _gateway_arguments, "run the gateway that a file describes",
         "It stops cleanly on SIGINT and SIGTERM."),
        ("registry", _registry, _registry_arguments, "run a service registry that speaks Eureka's REST protocol",
         "Clients of Eureka in any language register and look up as they do. It stops cleanly on SIGINT and SIGTERM."),
        ("check", check.run, check.arguments, "explain every mistake in a gateway's, a registry's or a library's file",
         "Each comes with file, line and key. The exit status is 0 if the file is fine, else 2."),
        ("api-key", _api_key, _api_key_arguments, "make an API key for the gateway's api_keys filters",
         "The key is shown once, on stderr; its entry for a keys file, which has its hash only, is printed."),
        ("dashboard", _dashboard, _dashboard_arguments, "watch the metrics streams of running services",
         "The page shows every command of the streams. It has no login: whoever reaches the address sees it."),
    ):
        one = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {more}")
        one.set_defaults(run=run)
        arguments(one)
    return parser


def _demo_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("--gateway-port", type=values.port, default=8080, metavar="PORT",
                     help="where the gateway listens (default: %(default)s)")
    one.add_argument("--private-port", type=values.port, default=8081, metavar="PORT",
                     help="where the gateway's private listener listens (default: %(default)s)")
    one.add_argument("--admin-port", type=values.port, default=8090, metavar="PORT",
                     help="where the dashboard and the telemetry are (default: %(default)s)")
    one.add_argument("--registry-port", type=values.port, default=8761, metavar="PORT",
                     help="where the services register (default: %(default)s)")
    one.add_argument("--fleet", action="store_true", help="three gateways, from the gateway's and admin port on: "
                     "they find instances in a registry, and share a limit in Redis if there is a redis-server")
    one.add_argument("--duration", type=values.seconds, metavar="SECONDS",
                     help="end by itself, with a summary (default: run until interrupted)")


def _demo(options: argparse.Namespace) -> int:
    if options.fleet:
        from ..demo import fleet

        return fleet.run(gateway_port=options.gateway_port, admin_port=options.admin_port,
                         registry_port=options.registry_port, duration=options.duration)
    from ..demo.run import run

    return run(gateway_port=options.gateway_port, private_port=options.private_port, admin_port=options.admin_port,
               registry_port=options.registry_port, duration=options.duration)


def _gateway_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("config", metavar="CONFIG.toml", help="the file")
    one.add_argument("--print-config", action="store_true",
                     help="print what is in force with this file, and where each value comes from, and end")
    one.add_argument("--workers", type=values.count, metavar="N", help="processes that serve requests (default: as the "
                     "file says, or 1)")


def _gateway(options: argparse.Namespace) -> int:
    sys.path.append("")  # filters are found where the gateway is started
    if options.print_config:
        return _print_config(options.config, options.workers)
    _go_on_at_signals()
    from resilience_dashboard import app as dashboard  # pyright: ignore[reportMissingImports]

    from ..gateway.admin.application import AdminApplication
    from ..gateway.listeners import ServeError
    from ..gateway.supervision import supervisor

    def ready(started: supervisor.Supervisor) -> None:
        output.announce(f"Gateway     {started.config.gateway.url}/")
        if started.config.private is not None:
            output.announce(f"Private     {started.config.private.settings.url}/")
        if started.config.admin is not None:
            output.announce(f"Dashboard   http://{started.config.admin.bind}/  "
                      "(streams: /hystrix.stream /resilience.stream, metrics: /metrics)")
        if started.config.registry is not None:
            _announce_registry(started.config.registry.url)

    try:
        supervisor.run(options.config, workers=options.workers, ready=ready,
                       make_admin=lambda started: AdminApplication(started, dashboard(["/resilience.stream"])))
    except ServeError as error:
        output.fail(str(error), 1)
    return 0


def _go_on_at_signals() -> None:
    """Let signals that ask for something end nothing: SIGHUP waits until reloads are possible."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    for ignored in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)


def _registry_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("config", metavar="CONFIG.toml", nargs="?", help="the file (default: none is needed)")
    one.add_argument("--port", type=values.port, metavar="PORT",
                     help="the port to listen on (default: as the file says, or 8761)")


def _registry(options: argparse.Namespace) -> int:
    _go_on_at_signals()
    import attrs

    from ..discovery.registry import server
    from ..gateway.config.registry import RegistryConfig
    from ..gateway.listeners import ServeError

    def read() -> RegistryConfig:
        config = RegistryConfig() if options.config is None else server.load(options.config)
        if options.port is None:
            return config
        host = config.listener.bind.rpartition(":")[0]
        return attrs.evolve(config, listener=attrs.evolve(config.listener, bind=f"{host}:{options.port}"))

    config = read()
    try:
        server.run(config, read, ready=lambda: _announce_registry(config.url))
    except ServeError as error:
        output.fail(str(error), 1)
    return 0


def _announce_registry(url: str) -> None:
    output.announce(f"Registry    {url}/  (Eureka: {url}/eureka/, metrics: /metrics)")


def _print_config(file: str, workers: int | None) -> int:
    from ..config import Document
    from ..gateway.config import effective, read

    document = Document.read(file)
    for line in effective.lines(read(document), document, workers=workers):
        output.show(line)
    return 0


def _api_key_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("id", metavar="ID", help="the beginning of the key, by which its entry is found")
    one.add_argument("--consumer", type=values.name, metavar="NAME", help="whose key it is (default: the ID)")
    one.add_argument("--scope", type=values.name, action="append", default=[], metavar="SCOPE",
                     help="what it may be used for; may be given several times (default: none)")
    one.add_argument("--role", type=values.name, action="append", default=[], metavar="ROLE",
                     help="what the consumer is; may be given several times (default: none)")
    one.add_argument("--tenant", type=values.name, metavar="NAME", help="whom the consumer belongs to (default: none)")


def _api_key(options: argparse.Namespace) -> int:
    from ..gateway.filters import api_keys

    mistake = api_keys.id_mistake(options.id)
    if mistake is not None:
        output.fail(f"the ID {mistake}, not {options.id!r}")
    key, digest = api_keys.new_key(options.id)
    said = {"id": options.id, "sha256": digest, "consumer": options.consumer or options.id, "scopes": options.scope,
            "roles": options.role, "tenant": options.tenant}
    entry = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in said.items() if value]
    output.show("\n".join(("[[keys]]", *entry)))
    print(f"The key, which is shown only now: {key}", file=sys.stderr)
    return 0


def _dashboard_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("--stream", action="append", required=True, metavar="URL",
                     help="a /resilience.stream, or a /hystrix.stream of any Hystrix or Turbine; "
                          "may be given several times")
    one.add_argument("--host", type=values.host, default="127.0.0.1", metavar="HOST",
                     help="the address to listen on; 0.0.0.0 is every one of this machine (default: %(default)s)")
    one.add_argument("--port", type=values.port, default=8090, metavar="PORT", help="the port (default: %(default)s)")
    one.add_argument("--title", default="resilience", metavar="TEXT",
                     help="what the page calls itself (default: %(default)s)")


def _dashboard(options: argparse.Namespace) -> int:
    from resilience_dashboard import app as dashboard  # pyright: ignore[reportMissingImports]

    from ..gateway import server
    from ..gateway.listeners import ServeError

    bind = f"{options.host}:{options.port}"
    try:
        server.run_app(dashboard(options.stream, title=options.title), bind,
                       ready=lambda: output.announce(f"Dashboard   http://{bind}/"))
    except ServeError as error:
        output.fail(str(error), 1)
    return 0
