"""Gateway configuration: the TOML file of one gateway as validated values."""

from ..front.tls import CertificateSettings, TlsSettings
from .addresses import address
from .balancing import BalancingConfig
from .compositions import CompositionConfig, PartConfig
from .endpoints import EndpointConfig
from .fallbacks import FallbackConfig
from .file import GatewayConfig, load, read
from .filters import BUILT_IN, FilterConfig, FilterTable
from .identity import IdentityHeaders
from .listeners import ENCODED, AdminSettings, GatewaySettings
from .observing import AccessLogSettings, TracingSettings
from .private import PrivateListener
from .process import ProcessSettings
from .routes import MirrorConfig, RouteConfig
from .services import DEFAULT_MAX_BODY, ServiceConfig
from .shedding import SheddingSettings

__all__ = ["BUILT_IN", "DEFAULT_MAX_BODY", "ENCODED", "AccessLogSettings", "AdminSettings", "BalancingConfig",
           "CertificateSettings", "CompositionConfig", "EndpointConfig", "FallbackConfig", "FilterConfig",
           "FilterTable", "GatewayConfig", "GatewaySettings", "IdentityHeaders", "MirrorConfig", "PartConfig",
           "PrivateListener", "ProcessSettings", "RouteConfig", "ServiceConfig", "SheddingSettings", "TlsSettings",
           "TracingSettings", "address", "load", "read"]
