"""Gateway configuration: the TOML file of one gateway as validated values."""

from .addresses import address
from .file import GatewayConfig, load, read
from .listeners import ENCODED, AdminSettings, GatewaySettings
from .private import PrivateSide
from .process import ProcessSettings
from .routes import METHODS, RouteConfig
from .services import DEFAULT_MAX_BODY, ServiceConfig

__all__ = ["DEFAULT_MAX_BODY", "ENCODED", "METHODS", "AdminSettings", "GatewayConfig", "GatewaySettings",
           "PrivateSide", "ProcessSettings", "RouteConfig", "ServiceConfig", "address", "load", "read"]
