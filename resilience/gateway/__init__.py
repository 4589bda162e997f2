"""The reference gateway: routing, commands around upstream calls, streaming; an ASGI 3 application."""

from .config import GatewayConfig, load
from .gateway import Gateway

__all__ = ["Gateway", "GatewayConfig", "load"]
