"""The effective configuration: what a file says, what is default, and where each value comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from ...config import Document
from ...core.http_status import HttpStatus
from ...policies.order import setting_kits
from ..service_command import USUAL
from .file import GatewayConfig

_SECRET: Final = re.compile(r"token|secret|password|passwd|credential|authorization|api[_-]?key|cookie", re.I)
_USER: Final = re.compile(r"(?<=//)[^/@\s]*@")
HIDDEN: Final = "(hidden)"
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+").fullmatch


def shown(value: Any, name: str = "") -> Any:
    """A *value* of a file without secrets: what has a telling name, unless it says only where the secret is."""
    if isinstance(value, Mapping):
        return {key: shown(inner, f"{name} {key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(inner, name) for inner in value]
    if isinstance(value, str):
        if _SECRET.search(name) and not value.startswith(("env:", "file:", "sha256:")):
            return HIDDEN
        return _USER.sub(f"{HIDDEN}@", value)
    return value


def lines(config: GatewayConfig, document: Document) -> Iterator[str]:
    """The configuration as TOML, a line for each setting, with a comment that says where it comes from."""
    for name in ("gateway", "admin", "process"):
        table = getattr(config, name)
        if table is not None:
            yield from _table(f"[{name}]", table, document, (name,))
    for name, service in config.services.items():
        yield from _table(f"[services.{_key(name)}]", service, document, ("services", name))
    for index, route in enumerate(config.routes):
        yield from _table("[[routes]]", route, document, ("routes", index))
    if config.private is not None:
        yield from _table("[private]", config.private.settings, document, ("private",))
        for index, route in enumerate(config.private.routes):
            yield from _table("[[private.routes]]", route, document, ("private", "routes", index))
    for name, value in document.data.items():
        if name not in ("gateway", "private", "admin", "process", "services", "routes"):
            yield f"{_key(name)} = {_toml(shown(value, name))}  # {document.place((name,)).file}"
            yield ""


def _table(head: str, table: Any, document: Document, path: tuple[str | int, ...]) -> Iterator[str]:
    said = document.at(*path)
    yield head
    for field in attrs.fields(type(table)):
        if field.name == "command":
            yield from _command(said.get("command", {}), document, (*path, "command"))
            continue
        value = said[field.name] if field.name in said else getattr(table, field.name)
        origin = _origin(document, (*path, field.name)) if field.name in said else "default"
        yield f"{field.name} = {_toml(shown(_plain(value), field.name))}  # {origin}"
    yield ""


def _origin(document: Document, path: tuple[str | int, ...]) -> str:
    place = document.place(path)
    return f"{place.file}:{place.line}" if place.line else place.file


def _command(said: Mapping[str, Any], document: Document, path: tuple[str | int, ...]) -> Iterator[str]:
    for name, value in said.items():
        yield f"command.{_key(name)} = {_toml(shown(_plain(value), name))}  # {_origin(document, (*path, name))}"
    replaced = {name for kit in setting_kits() if said.get(kit.name, False) is not False for name in kit.instead_of}
    for name, value in USUAL.items():
        if name not in said and name not in replaced:
            yield f"command.{name} = {_toml(_plain(value))}  # default"


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


def _toml(value: Any) -> str:
    if value is None or value is False:
        return "false"
    if value is True:
        return "true"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(name)} = {_toml(inner)}" for name, inner in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _key(name: str) -> str:
    return name if _BARE(name) else json.dumps(name, ensure_ascii=False)
