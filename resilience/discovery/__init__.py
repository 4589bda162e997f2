"""Discovery: the service registry, and what asks one."""
