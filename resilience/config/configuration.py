"""Configuration: what a user holds of a file or mapping that is in force over the commands of a registry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError
from ..registry import Registry, default_registry
from .applied_source import AppliedSource, Source
from .explanation import Explanation, explain
from .mistakes import Mistake
from .watcher import is_endless


def configure(source: Source, *, registry: Registry = default_registry, watch: bool = False,
              environ: Mapping[str, str] | None = None) -> Configuration:
    """Put a configuration in force over the commands of *registry*, those declared later included.

    It takes the place of the one in force there, whose handle is closed by that.

    Args:
        source: A TOML file, or a mapping with its tables.
        registry: Whose commands.
        watch: Apply the file again within a second of a change; needs a file.
        environ: Where to look for variables that begin with RESILIENCE_CONFIG; None: the process's environment.

    Raises:
        ConfigFileError: With every mistake; nothing has changed then.
        ConfigError: There is no file to watch; or this thread is bringing a configuration of the registry into force,
            and a listener, or a module that it imports, has called this.
    """
    if watch and isinstance(source, Mapping):
        raise ConfigError("watch: a mapping cannot be watched; give the path of a file, or call configure() again",
                          "watch")
    if watch and not isinstance(source, Mapping) and is_endless(Path(source)):
        raise ConfigError(f"watch: {os.fspath(source)} is a pipe or a device, which cannot be watched", "watch")
    applied = AppliedSource(source, registry, environ)
    applied.begin(watch)
    return Configuration(applied, registry)


class Configuration:
    """A configuration in force; made by configure(). Every method may be called from any thread."""

    def __init__(self, applied: AppliedSource, registry: Registry) -> None:
        self._applied, self._registry = applied, registry

    def __repr__(self) -> str:
        return repr(self._applied)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """What was wrong when it was last read, and with commands and targets that came since; empty if nothing."""
        return self._applied.mistakes

    @property
    def unused(self) -> tuple[str, ...]:
        """What the tables speak of and no command has so far, such as ``commands.KEY``: misspelt, or not imported."""
        return self._applied.unused

    def reload(self) -> None:
        """Read the source and the environment again, and bring what they say into force, all or nothing.

        If another thread is at it, that one reads once more, this returns at once, and mistakes are told as if the
        file were watched: so it may be called by a signal handler.

        Raises:
            ConfigFileError: With every mistake; nothing has changed then.
            ConfigError: It was closed, or another configuration is in force.
        """
        self._applied.reload()

    def close(self) -> None:
        """Take everything back: guards, settings, the watch. What the code says is in force again."""
        self._applied.close()

    def explain(self, key: str) -> Explanation:
        """Explain the settings of one command, as resilience.explain() does for the configuration's registry.

        Args:
            key: Key of the command.

        Raises:
            KeyError: There is no such command, and the configuration does not mention one.
        """
        return explain(key, registry=self._registry)
