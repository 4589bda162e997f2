"""Gateway configuration: the TOML file of one gateway as validated values."""

from .addresses import address
from .balancing import BalancingConfig
from .endpoints import EndpointConfig
from .fallbacks import FallbackConfig
from .file import GatewayConfig, load
from .listeners import ENCODED, AdminSettings, GatewaySettings
from .routes import METHODS, RouteConfig
from .services import DEFAULT_MAX_BODY, ServiceConfig

__all__ = ["DEFAULT_MAX_BODY", "ENCODED", "METHODS", "AdminSettings", "BalancingConfig", "EndpointConfig",
           "FallbackConfig", "GatewayConfig", "GatewaySettings", "RouteConfig", "ServiceConfig", "address", "load"]
