"""Documents: a file of JSON or YAML, and every file that it refers to.

They are read when the gateway's file is, never later. A reference leads to a place in the same document, or to a file
in the folder of the first document or below it. Nothing is ever fetched: a document that somebody else wrote must not
make the gateway ask other servers, nor show its files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin

from ...errors import ConfigError
from ..messages.json_pointer import MISSING, escaped, found, parsed

MAX_FILES: Final = 200
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
MAX_NODES: Final = 500_000
_DEEPEST: Final = 200
_TRUE_OR_FALSE: Final = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")


class Documents:
    """A document and the files that it refers to. Filled once, then only read.

    Attributes:
        root: The URI of the first document.
        by_uri: The values of all.
        contents: A hash of what the files hold.
    """

    def __init__(self, file: str | Path) -> None:
        """Read *file*, and what it refers to.

        Raises:
            ConfigError: A file cannot be read or is malformed, or refers to something that is not a local file.
        """
        path = Path(file).absolute()
        self._folder = path.parent.resolve()
        self.root = path.as_uri()
        self.by_uri: dict[str, Any] = {}
        waiting, hashed = [(self.root, path)], hashlib.sha256()
        while waiting:
            uri, path = waiting.pop()
            if uri in self.by_uri:
                continue
            if len(self.by_uri) >= MAX_FILES:
                raise ConfigError(f"{self.name(self.root)} refers to more than {MAX_FILES} files")
            content = _content(path, self.name(uri))
            hashed.update(b"%d:%b" % (len(content), content))
            self.by_uri[uri] = value = _value(content, path, self.name(uri))
            for where, reference in _references(value):
                target = urldefrag(urljoin(uri, reference)).url
                if target not in self.by_uri:
                    waiting.append((target, self._local(target, f"{self.name(uri)}#{where}", reference)))
        self.contents = hashed.digest()

    def name(self, uri: str) -> str:
        """The file of a document, relative to the folder of the first, for messages."""
        path = Path(unquote(uri.removeprefix("file://")))
        return str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else str(path)

    def at(self, uri: str) -> Any:
        """The value at *uri*, whose fragment is a JSON pointer.

        Raises:
            LookupError: There is none.
        """
        base, fragment = urldefrag(uri)
        if fragment and not fragment.startswith("/"):
            raise LookupError(fragment)  # an anchor
        place = found(self.by_uri[base], parsed(unquote(fragment)))
        if place is MISSING:
            raise LookupError(fragment)
        return place

    def resolved(self, uri: str) -> tuple[str, Any]:
        """Where the value at *uri* really stands, and the value itself: references are followed.

        Raises:
            ConfigError: A reference leads nowhere, or round in a circle.
        """
        seen: dict[str, None] = {}
        while uri not in seen:
            try:
                value = self.at(uri)
                following = value.get("$ref") if isinstance(value, dict) else None
            except (LookupError, TypeError, ValueError):
                raise ConfigError(f"{self.where(uri)}: there is nothing there, but a reference leads there") from None
            if not isinstance(following, str):
                return uri, value
            seen[uri] = None
            uri = urljoin(uri, following)
        raise ConfigError(f"{self.where(uri)}: the reference leads round in a circle")

    def where(self, uri: str) -> str:
        """*uri* for a message: file and pointer."""
        base, fragment = urldefrag(uri)
        return f"{self.name(base)}#{unquote(fragment)}"

    def _local(self, uri: str, where: str, reference: str) -> Path:
        if uri.startswith("file:///") and "%2f" not in uri.lower():
            path = Path(unquote(uri.removeprefix("file://")))
            if path.resolve().is_relative_to(self._folder):
                return path
        raise ConfigError(f"{where} refers to {reference!r}; only files in the folder of the document are read, "
                          "and nothing is fetched: keep a copy beside it")


def of_documents(*files: Any) -> Iterator[bytes]:
    """A hash of each file's document, and of what it refers to; nothing for files that are None.

    Args:
        files: Paths, perhaps with fragments.

    Raises:
        ConfigError: One cannot be read.
    """
    for file in files:
        if isinstance(file, str):
            yield Documents(file.partition("#")[0]).contents


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """Every reference in a document, with the place where it stands."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, dict):
            for name, inner in value.items():
                if name in ("$ref", "$dynamicRef") and isinstance(inner, str):
                    yield where, inner
                else:
                    waiting.append((f"{where}/{escaped(name)}", inner))
        elif isinstance(value, list):
            waiting.extend((f"{where}/{index}", inner) for index, inner in enumerate(value))


def _content(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_FILE_BYTES} bytes")
    return content


def _value(content: bytes, path: Path, name: str) -> Any:
    try:
        text = content.decode("utf-8-sig")
        value = _yaml(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    except RecursionError:
        raise ConfigError(f"{name} is nested too deep") from None
    except ValueError as error:
        raise ConfigError(f"{name} is malformed: {error}") from None
    _bounded(value, name)
    return value


def _bounded(value: Any, name: str) -> None:
    """Refuse what is small as a text and huge as a tree, as YAML's aliases can make it."""
    level, count = [value], 0
    for _ in range(_DEEPEST):
        following: list[Any] = []
        for each in level:
            inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
            count += len(inner)
            if count > MAX_NODES:
                raise ConfigError(f"{name} has more than {MAX_NODES} values")
            following.extend(inner)
        if not following:
            return
        level = following
    raise ConfigError(f"{name} is nested too deep")


def _yaml(text: str) -> Any:
    """The value of a YAML text, by JSON's rules for what is a number, a bool or null."""
    try:
        import yaml
    except ImportError:
        raise ConfigError("documents in YAML need PyYAML: pip install pyyaml") from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Takes dates for strings, and only true and false for bools."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":bool"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    for word in ("true", "True", "TRUE", "false", "False", "FALSE"):
        resolvers = Loader.yaml_implicit_resolvers.setdefault(word[0], [])
        if not resolvers or not resolvers[0][0].endswith(":bool"):
            resolvers.insert(0, ("tag:yaml.org,2002:bool", _TRUE_OR_FALSE))
    try:
        return _with_names(yaml.load(text, Loader))  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", at line {mark.line + 1}" if mark is not None else ""
        raise ValueError(f"{getattr(error, 'problem', None) or 'not YAML'}{place}") from None


def _with_names(value: Any) -> Any:
    """*value* with the keys of its mappings as strings: 200, say, which YAML takes for a number."""
    made: dict[int, Any] = {}  # what stands in several places is changed once, and stays one

    def changed(value: Any) -> Any:
        if not isinstance(value, (dict, list)):
            return value
        if id(value) not in made:
            if isinstance(value, dict):
                made[id(value)] = new = {}
                new.update({str(name): changed(inner) for name, inner in value.items()})
            else:
                many: list[Any] = []
                made[id(value)] = many
                many.extend(changed(inner) for inner in value)
        return made[id(value)]

    return changed(value)
