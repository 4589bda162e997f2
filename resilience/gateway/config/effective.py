"""The effective configuration: what a file says, what is default, and where each value comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs

from ...config import Document
from ...config.document import toml_key
from ...config.secret_names import HIDDEN, is_telling, with_hidden_parameters
from ...core.http_status import HttpStatus
from ...policies.order import setting_kits
from ..services.service_command import USUAL
from .file import GatewayConfig
from .private import PRIVATE_KEYS
from .registry import LISTENER_KEYS, RegistryConfig
from .services import ServiceConfig

_USER: Final = re.compile(r"(?<=://)[^/\s]*@")
#: Tables that are made of the settings of one class.
_TABLES: Final = ("gateway", "admin", "process", "access_log", "tracing", "shedding", "shared", "identity")


def shown(value: Any, name: str = "") -> Any:
    """A *value* of a file without secrets: what has a telling name, unless it says only where the secret is."""
    if isinstance(value, Mapping):
        return {key: shown(inner, f"{name} {key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(inner, name) for inner in value]
    if isinstance(value, str):
        if is_telling(name) and not value.startswith(("env:", "file:", "sha256:")):
            return HIDDEN
        return with_hidden_parameters(_USER.sub(f"{HIDDEN}@", value))
    return value


def lines(config: GatewayConfig, document: Document, *, workers: int | None = None) -> Iterator[str]:
    """The configuration as TOML, a line for each setting, with a comment that says where it comes from.

    Args:
        config: As it was read.
        document: From where.
        workers: The option of the command line that takes precedence over the file; None: there is none.
    """
    yield from _none(config, document)
    for name in _TABLES:
        table = getattr(config, name)
        if table is not None:
            told = {"workers": (workers, "--workers")} if name == "process" and workers is not None else {}
            yield from _table(f"[{name}]", table, document, (name,), told)
    for name, said in document.at("filters").items():
        made = config.filters.get(name)
        yield from _filter(name, said, None if made is None else made.target, document)
    if config.registry is not None:
        yield from _registry(config.registry, document)
    for name, service in config.services.items():
        yield from _table(f"[services.{toml_key(name)}]", service, document, ("services", name))
    for name, composition in config.compositions.items():
        yield from _table(f"[compositions.{toml_key(name)}]", composition, document, ("compositions", name))
    for index, route in enumerate(config.routes):
        yield from _table("[[routes]]", route, document, ("routes", index))
    if config.private is not None:
        yield from _table("[private]", config.private.settings, document, ("private",), only=PRIVATE_KEYS)
        for index, route in enumerate(config.private.routes):
            yield from _table("[[private.routes]]", route, document, ("private", "routes", index))


def _none(config: GatewayConfig, document: Document) -> Iterator[str]:
    """That there are no services or no routes, which a file must say."""
    for name, value in (("services", config.services), ("routes", config.routes)):
        if not value:
            yield f"{name} = {toml(value)}  # {_origin(document, (name,))}"


def _filter(name: str, said: Mapping[str, Any], target: Any, document: Document) -> Iterator[str]:
    """A filter's table: what it says, and the other settings of its class."""
    yield f"[filters.{toml_key(name)}]"
    for key, value in said.items():
        yield _line(key, value, _origin(document, ("filters", name, key)))
    for field in attrs.fields(type(target)) if attrs.has(type(target)) else ():
        if field.init and field.name not in said:
            yield _line(field.name, getattr(target, field.name), "default")
    yield ""


def _registry(config: RegistryConfig, document: Document) -> Iterator[str]:
    """The registry that is embedded in the gateway."""
    yield from _table("[registry]", config.registry, document, ("registry",))
    yield from _table("[registry.listener]", config.listener, document, ("registry", "listener"), only=LISTENER_KEYS)
    yield from _table("[registry.tokens]", config.tokens, document, ("registry", "tokens"))
    if config.shared is not None:
        yield from _table("[registry.shared]", config.shared, document, ("registry", "shared"))
    for index, peer in enumerate(config.peers):
        yield from _table("[[registry.peers]]", peer, document, ("registry", "peers", index))


def _table(head: str, table: Any, document: Document, path: tuple[str | int, ...],
           told: Mapping[str, tuple[Any, str]] = MappingProxyType({}), *,
           only: Sequence[str] | None = None) -> Iterator[str]:
    """A table: its settings, or *only* some; *told* has values from elsewhere, and from where."""
    said = document.at(*path)
    said = said if isinstance(said, Mapping) else {}
    yield head
    for field in attrs.fields(type(table)):
        if not field.init or (only is not None and field.name not in only):
            continue
        if field.name == "command" and isinstance(table, ServiceConfig):
            yield from _command(said.get("command", {}), document, (*path, "command"))
            continue
        value = said[field.name] if field.name in said else getattr(table, field.name)
        origin = _origin(document, (*path, field.name)) if field.name in said else "default"
        yield _line(field.name, *told.get(field.name, (value, origin)))
    yield ""


def _line(name: str, value: Any, origin: str) -> str:
    return f"{name} = {toml(shown(_plain(value), name))}  # {origin}"


def _origin(document: Document, path: tuple[str | int, ...]) -> str:
    place = document.place(path)
    return f"{place.file}:{place.line}" if place.line else place.file


def _command(said: Mapping[str, Any], document: Document, path: tuple[str | int, ...]) -> Iterator[str]:
    for name, value in said.items():
        yield f"command.{toml_key(name)} = {toml(shown(_plain(value), name))}  # {_origin(document, (*path, name))}"
    replaced = {name for kit in setting_kits() if said.get(kit.name, False) is not False for name in kit.instead_of}
    for name, value in USUAL.items():
        if name not in said and name not in replaced:
            yield f"command.{name} = {toml(_plain(value))}  # default"


def _plain(value: Any) -> Any:
    """A *value* in the terms of a file; defaults of an attrs class are left out."""
    if isinstance(value, HttpStatus):
        return list(value.failed)
    if attrs.has(type(value)):
        return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))
                if field.init and getattr(value, field.name) != field.default}
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def toml(value: Any) -> str:
    """A *value* as a file has it."""
    if value is None or value is False:
        return "false"
    if value is True:
        return "true"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_key(name)} = {toml(inner)}" for name, inner in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
