"""Bodies of registrations: JSON or XML to nested mappings, which instance_reading.py makes an instance of. Pure.

An element is a mapping of its children; one without children is its text. Of attributes the protocol has two, which
stand as in JSON: ``<port enabled="true">80</port>`` is ``{"@enabled": "true", "$": "80"}``, and the ``class`` of a
dataCenterInfo and of metadata is an ``"@class"`` among the children. A name may be written so that XML takes it; see
element_names.py. A document type is refused, and so are entities of its own: there is no way to make a small text
large.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn
from xml.parsers import expat

from .element_names import read_name
from .instance import InvalidInstanceError

_DEEPEST: Final = 8
_PORTS: Final = ("port", "securePort")
#: By the element of an instance.
_ATTRIBUTES: Final = {"port": "enabled", "securePort": "enabled", "dataCenterInfo": "class", "metadata": "class"}


def registration(body: bytes, content_type: str) -> Mapping[str, Any]:
    """What the *body* of a registration says of its instance.

    Args:
        body: Bytes.
        content_type: Of the request; empty: not said.

    Raises:
        InvalidInstanceError: It is neither JSON nor XML, or has no instance.
    """
    is_xml = "xml" in content_type.lower() or ("json" not in content_type.lower() and body.lstrip()[:1] == b"<")
    said = _xml(body) if is_xml else _json(body)
    if not isinstance(said, Mapping) or not isinstance(said.get("instance"), Mapping):
        raise InvalidInstanceError("the body must be an instance: <instance>...</instance> or {\"instance\": {...}}")
    found: Mapping[str, Any] = said["instance"]
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidInstanceError("the body is not JSON") from None


class _Tree:
    """Builds mappings of elements."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, Any], list[str]]] = [("", self.root, [])]

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > _DEEPEST:
            raise InvalidInstanceError("the body is nested too deep")
        known = _ATTRIBUTES.get(name) if self._open[-1][0] == "instance" else None
        said = {} if known is None or known not in attributes else {f"@{known}": attributes[known]}
        self._open.append((name, said, []))

    def data(self, text: str) -> None:
        self._open[-1][2].append(text)

    def end(self, _: str) -> None:
        name, found, texts = self._open.pop()
        text = "".join(texts)
        value: Any = found or text  # spaces may be a value of metadata
        if name in _PORTS and "@enabled" in found:
            value = {**found, "$": text.strip()}
        self._open[-1][1][read_name(name)] = value


def _refuse(*_: Any) -> NoReturn:
    raise InvalidInstanceError("the body has a document type, which is not taken")


def _xml(body: bytes) -> Any:
    tree, parser = _Tree(), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = tree.start, tree.end
    parser.CharacterDataHandler = tree.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, InvalidInstanceError):
            raise
        raise InvalidInstanceError("the body is not XML") from None
    return tree.root
