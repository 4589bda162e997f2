"""The JSON Schema of the gateway's file, made from the classes that the file is read into; see config/schema.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from ...config.schema import class_schema, table_schema
from ..service_command import accepted
from .listeners import AdminSettings, GatewaySettings
from .process import ProcessSettings
from .routes import RouteConfig
from .services import ServiceConfig

#: The tables of which there is one, by name.
_TABLES: Final[Mapping[str, type[Any]]] = {
    "gateway": GatewaySettings, "admin": AdminSettings, "process": ProcessSettings}


def schema() -> dict[str, Any]:
    """The schema, as JSON Schema draft 7."""
    service = class_schema(ServiceConfig)
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
            "services": {"type": "object", "description": "By name.",
                         "additionalProperties": {"$ref": "#/definitions/service"}},
            "routes": {"type": "array", "items": {"$ref": "#/definitions/route"}},
        },
        "definitions": {
            **{name: class_schema(table) for name, table in _TABLES.items()},
            "private": _private(),
            "service": service,
            "route": class_schema(RouteConfig),
            "command": table_schema(accepted()),
        },
    }


def _private() -> dict[str, Any]:
    found = class_schema(GatewaySettings)
    routes = {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/route"}}
    return {**found, "required": ["bind", "routes"], "properties": {**found["properties"], "routes": routes}}


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
