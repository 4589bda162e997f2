"""Patches: what an operator may change of the configuration in force, and how it is changed. Pure.

Services and routes can be changed, and nothing else: not who may use the admin API, not the listeners, not which code
is run. Nor can a change read files or the environment of this machine, which would send secrets wherever it likes.
"""

from __future__ import annotations

from typing import Any, Final

from ...config.commands import settings
from ...core.references import Written
from ...errors import ConfigError

CHANGEABLE: Final = ("services", "routes")


def check_patch(patch: Any) -> None:
    """Make sure that a merge *patch* of the configuration changes nothing but what an operator may change.

    Raises:
        ConfigError: It does.
    """
    if not isinstance(patch, dict):
        raise ConfigError("a merge patch of the configuration is a JSON object (RFC 7396)")
    for name in patch:
        if name not in CHANGEABLE:
            raise ConfigError(f"{name!r} cannot be changed by the admin API, but in the file; "
                              f"{' and '.join(CHANGEABLE)} can")
    services = patch.get("services")
    for service in services.values() if isinstance(services, dict) else ():
        if isinstance(service, dict):
            _check_service(service)
    _check_strings(patch)


def _check_service(service: dict[str, Any]) -> None:
    """Raise ConfigError if the patch of a service would have this machine read a file, or run some other code."""
    if service.get("ca_file"):
        raise ConfigError("ca_file cannot be changed by the admin API, but in the file")
    if isinstance(service.get("source"), dict):
        raise ConfigError("source cannot be changed by the admin API, but in the file; null takes it away")
    command = service.get("command")
    for name, said in command.items() if isinstance(command, dict) else ():
        known = settings()[name].fields if name in settings() else {}
        for key, value in said.items() if isinstance(said, dict) else ():
            check = known[key].validator if key in known else None
            if isinstance(check, Written) and check.names_code(value):
                raise ConfigError(f"{name}.{key} names code, which cannot be said by the admin API, but in the file")


def _check_strings(value: Any) -> None:
    """Raise ConfigError for what would be read from a file or the environment."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _check_strings(each)
    elif isinstance(value, str) and value.startswith(("env:", "file:")):
        raise ConfigError(f"{value.partition(':')[0]}: cannot be used by the admin API, but in the file")


def merged(target: Any, patch: Any) -> Any:
    """A copy of *target* with a merge *patch* (RFC 7396): null removes, objects are merged, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
