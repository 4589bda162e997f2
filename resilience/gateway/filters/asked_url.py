"""Asked URLs: what a filter asks by a URL of its file, under a command of its own. Redirects are not followed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ..config import ServiceConfig


def url_mistake(value: Any) -> str | None:
    """What is wrong with a URL to ask; None if nothing is."""
    try:
        url = urlsplit(value)
        is_good = url.scheme in ("http", "https") and bool(url.hostname) and url.username is None and not url.fragment
    except (ValueError, AttributeError, TypeError):
        is_good = False
    if not is_good or not value.isascii() or any(ord(each) <= 32 for each in value):
        return "must be an http:// or https:// URL"
    return None


def service_of(url: str, timeout: float, ca_file: str | None) -> ServiceConfig:
    """The service that a *url* is asked by, which has *timeout* seconds, and for all of its answer twice as many.

    Raises:
        ConfigError: There is no such *ca_file*, or the URL has no port that there is.
    """
    parts = urlsplit(url)
    return ServiceConfig(endpoints=(f"{parts.scheme}://{parts.netloc}",), ca_file=ca_file, idle_timeout=timeout,
                         deadline=2 * timeout, command={"timeout": timeout})


def target_of(url: str) -> bytes:
    """What that service is asked for."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}".encode()
