"""The JSON Schema of the gateway's file, made from the classes that the file is read into; see config/schema.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from ...config.schema import class_schema, table_schema
from ...discovery.registry.settings import RegistrySettings
from ..services.service_command import PER, accepted
from .compositions import CompositionConfig
from .identity import IdentityHeaders
from .listeners import AdminSettings, GatewaySettings
from .observing import AccessLogSettings, TracingSettings
from .private import PRIVATE_KEYS
from .process import ProcessSettings
from .registry import LISTENER_KEYS, PeerSettings, RegistryConfig, TokenSettings
from .routes import RouteConfig
from .services import ServiceConfig
from .shared import RegistryStoreSettings, SharedSettings
from .shedding import SheddingSettings
from .sources import SourceTable

#: The tables of which there is one, by name.
_TABLES: Final[Mapping[str, type[Any]]] = {
    "gateway": GatewaySettings, "admin": AdminSettings, "process": ProcessSettings, "identity": IdentityHeaders,
    "access_log": AccessLogSettings, "tracing": TracingSettings, "shedding": SheddingSettings,
    "shared": SharedSettings}


def schema() -> dict[str, Any]:
    """The schema, as JSON Schema draft 7."""
    service = class_schema(ServiceConfig)
    endpoints = service["properties"]["endpoints"]
    endpoints.update(minItems=1, items={"anyOf": [{"type": "string"}, endpoints["items"]]})
    source = {**class_schema(SourceTable), "additionalProperties": True,  # the settings of what it uses
              "description": service["properties"]["source"].get("description", "")}
    service["properties"]["source"] = {"anyOf": [source, {"const": False}]}
    service["anyOf"] = [{"required": ["endpoints"]}, {"required": ["source"]}]
    service["properties"]["command"] = {"$ref": "#/definitions/command",
                                        "description": service["properties"]["command"].get("description", "")}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Gateway of resilience",
        "type": "object",
        "additionalProperties": False,
        "required": ["services", "routes"],
        "properties": {
            **{name: {"$ref": f"#/definitions/{name}"} for name in _TABLES},
            "private": {"$ref": "#/definitions/private"},
            "registry": {"$ref": "#/definitions/registry"},
            "services": {"type": "object", "description": "By name.",
                         "additionalProperties": {"$ref": "#/definitions/service"}},
            "filters": {"type": "object", "description": "By name; the settings are those of what each one uses.",
                        "additionalProperties": {"type": "object"}},
            "compositions": {"type": "object", "description": "By name.",
                             "additionalProperties": class_schema(CompositionConfig)},
            "routes": {"type": "array", "items": {"$ref": "#/definitions/route"}},
        },
        "definitions": {
            **{name: class_schema(table) for name, table in _TABLES.items()},
            "private": _private(),
            "registry": _registry(),
            "service": service,
            "route": class_schema(RouteConfig),
            "command": _command(),
        },
    }


def _command() -> dict[str, Any]:
    found = table_schema(accepted())
    per = {"enum": list(PER), "description": "For whom there is a command."}  # read beside the settings
    return {**found, "properties": {"per": per, **found["properties"]}}


def _private() -> dict[str, Any]:
    found = class_schema(GatewaySettings)
    routes = {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/route"}}
    own = {name: found["properties"][name] for name in PRIVATE_KEYS}
    return {**found, "required": ["bind", "routes"], "properties": {**own, "routes": routes}}


def _registry() -> dict[str, Any]:
    found, listener = class_schema(RegistrySettings), class_schema(GatewaySettings)
    listener["properties"] = {name: listener["properties"][name] for name in LISTENER_KEYS}
    listener["properties"]["bind"]["default"] = RegistryConfig().listener.bind
    peers = {"type": "array", "items": {"anyOf": [{"type": "string"}, class_schema(PeerSettings)]}}
    return {**found, "properties": {**found["properties"], "listener": listener,
                                    "tokens": class_schema(TokenSettings), "peers": peers,
                                    "shared": class_schema(RegistryStoreSettings)}}


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
